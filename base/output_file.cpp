#include "base/output_file.h"

#include "base/error.h"
#include "base/part_files.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace lava {

namespace {

// The handler may only look at what is ready beforehand: buffers that are never freed, published by `used`.
constexpr std::size_t longest_path = 4096;
struct Slot
{
    std::atomic<bool> taken = false;
    std::atomic<bool> used = false;
    std::array<char, longest_path>* path = nullptr; // made when the slot is first taken
};
std::array<Slot, 4096> slots; // an export of charts holds all of its files at once

void remove_parts_and_die(int signal)
{
    for (auto& slot : slots)
        if (slot.used)
            ::unlink(slot.path->data());
    ::signal(signal, SIG_DFL);
    ::raise(signal);
}

void install_handlers()
{
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction action = {};
        ::sigaction(signal, nullptr, &action);
        if (action.sa_handler == SIG_IGN) // nohup
            continue;
        action = {};
        action.sa_handler = remove_parts_and_die;
        ::sigemptyset(&action.sa_mask);
        action.sa_flags = SA_NODEFER; // the raise() in the handler takes effect at once
        ::sigaction(signal, &action, nullptr);
    }
}

int take_slot(const std::string& path)
{
    static std::once_flag installed;
    std::call_once(installed, install_handlers);
    if (path.size() >= longest_path)
        throw Error(path + ": cannot be written: the path is too long");
    for (std::size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].taken.exchange(true))
            continue;
        if (slots[i].path == nullptr)
            slots[i].path = new std::array<char, longest_path>;
        std::memcpy(slots[i].path->data(), path.c_str(), path.size() + 1);
        slots[i].used = true;
        return static_cast<int>(i);
    }
    throw Error(path + ": cannot be written: too many output files at once");
}

void free_slot(int slot)
{
    slots[static_cast<std::size_t>(slot)].used = false;
    slots[static_cast<std::size_t>(slot)].taken = false;
}

[[noreturn]] void fail(const std::filesystem::path& file, int error)
{
    throw Error(file.string() + ": cannot be written: " + std::generic_category().message(error));
}

void check_folder(const std::filesystem::path& target, const std::filesystem::path& real)
{
    std::error_code error;
    const auto status = std::filesystem::status(real, error);
    if (target.filename().empty() || status.type() == std::filesystem::file_type::directory)
        throw Error(target.string() + ": cannot be written: it is a folder");
    if (std::filesystem::exists(status) && status.type() != std::filesystem::file_type::regular)
        throw Error(target.string() + ": cannot be written: it is no regular file");
    if (!std::filesystem::is_directory(real.parent_path(), error))
        throw Error(target.string() + ": cannot be written: there is no folder " + real.parent_path().string());
}

void write_all(int descriptor, std::string_view text, const std::filesystem::path& file)
{
    while (!text.empty()) {
        const auto written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            fail(file, errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// Opens, writes and closes; every step may be where a full disk shows.
void write_to(
    const std::filesystem::path& file, std::string_view text, const std::filesystem::path& shown, int flags = O_TRUNC)
{
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666);
    if (descriptor < 0)
        fail(shown, errno);
    try {
        write_all(descriptor, text, shown);
    } catch (...) {
        ::close(descriptor);
        throw;
    }
    if (::close(descriptor) != 0)
        fail(shown, errno);
}

/// A file cannot be written where its name is too long for the file system.
void check_name(const std::filesystem::path& target, const std::filesystem::path& real)
{
    struct stat status = {};
    if (::lstat(real.c_str(), &status) != 0 && errno != ENOENT)
        fail(target, errno);
}

/// Renames unless there is a `to`; false where there is one.
bool rename_if_absent(const std::filesystem::path& from, const std::filesystem::path& to)
{
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EINVAL || errno == ENOSYS) { // file systems that know no such renaming know hard links
        if (::link(from.c_str(), to.c_str()) == 0) {
            ::unlink(from.c_str());
            return true;
        }
    }
    if (errno == EEXIST)
        return false;
    throw std::system_error(errno, std::generic_category());
}

} // namespace

bool is_device_or_pipe(const std::filesystem::path& file)
{
    std::error_code error;
    const auto type = std::filesystem::status(file, error).type();
    using std::filesystem::file_type;
    return type == file_type::character || type == file_type::block || type == file_type::fifo
        || type == file_type::socket;
}

std::filesystem::path real_path(const std::filesystem::path& file)
{
    std::filesystem::path path = std::filesystem::absolute(file);
    std::error_code error;
    for (int links = 0; links < 40 && std::filesystem::is_symlink(path, error); ++links)
        path = path.parent_path() / std::filesystem::read_symlink(path); // an absolute one replaces the whole
    return std::filesystem::weakly_canonical(path);
}

OutputFile::OutputFile(std::filesystem::path target)
    : target_(std::move(target))
{
    if (target_.empty())
        throw Error("an output file needs a name");
    try {
        real_ = real_path(target_);
    } catch (const std::filesystem::filesystem_error& error) {
        fail(target_, error.code().value());
    }
    check_folder(target_, real_);
    check_name(target_, real_);
    remove_abandoned_parts(real_);
    part_ = part_of(real_);
    slot_ = take_slot(part_.string());
    try {
        write_to(part_, "", target_, O_CREAT | O_EXCL); // never over what is there, nor through a link
    } catch (...) {
        free_slot(slot_);
        throw;
    }
}

OutputFile::~OutputFile()
{
    if (!committed_) {
        ::unlink(part_.c_str());
        free_slot(slot_);
    }
}

void OutputFile::begin_writing() const
{
    const int descriptor = ::open(part_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    ::sync_file_range(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE); // only a hint: commit() reports what fails
    ::close(descriptor);
}

void OutputFile::write(std::string_view text) const
{
    write_to(part_, text, target_);
}

void OutputFile::sync() const
{
    // Some file systems tell of a full disk only here.
    const int descriptor = ::open(part_.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int error = errno;
    const bool closed = descriptor >= 0 && ::close(descriptor) == 0;
    if (!synced || !closed)
        fail(target_, synced ? errno : error);
}

void OutputFile::forget_part()
{
    committed_ = true;
    free_slot(slot_);
}

void OutputFile::commit()
{
    sync();
    if (::rename(part_.c_str(), real_.c_str()) != 0)
        fail(target_, errno);
    forget_part();
}

bool OutputFile::commit_if_absent()
{
    sync();
    try {
        if (!rename_if_absent(part_, real_))
            return false;
    } catch (const std::system_error& error) {
        fail(target_, error.code().value());
    }
    forget_part();
    return true;
}

void write_text_file(const std::filesystem::path& file, std::string_view text)
{
    if (is_device_or_pipe(file)) // /dev/stdout: there is nothing to rename
        return write_to(file, text, file);
    OutputFile output(file);
    output.write(text);
    output.commit();
}

} // namespace lava
