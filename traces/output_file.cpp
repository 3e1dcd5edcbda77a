#include "traces/output_file.h"

#include "traces/error.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <system_error>
#include <unistd.h>

namespace lava {

namespace {

// The handler may only look at what is ready beforehand: fixed buffers, published by `used`.
constexpr std::size_t longest_path = 4096;
struct Slot
{
    std::atomic<bool> taken = false;
    std::atomic<bool> used = false;
    std::array<char, longest_path> path{};
};
std::array<Slot, 32> slots;

void remove_parts_and_die(int signal)
{
    for (auto& slot : slots)
        if (slot.used)
            ::unlink(slot.path.data());
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
        std::memcpy(slots[i].path.data(), path.c_str(), path.size() + 1);
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
void write_to(const std::filesystem::path& file, std::string_view text, const std::filesystem::path& shown)
{
    const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
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

bool is_device_or_pipe(const std::filesystem::path& file)
{
    std::error_code error;
    const auto type = std::filesystem::status(file, error).type();
    using std::filesystem::file_type;
    return type == file_type::character || type == file_type::fifo || type == file_type::socket;
}

} // namespace

OutputFile::OutputFile(std::filesystem::path target)
    : target_(std::move(target))
{
    if (target_.empty())
        throw Error("an output file needs a name");
    std::error_code error;
    // absolute: a bare name that is not there yet has no folder; canonical: through a symbolic link, not over it
    auto real = std::filesystem::weakly_canonical(std::filesystem::absolute(target_), error);
    if (error)
        fail(target_, error.value());
    check_folder(target_, real);
    part_ = real;
    part_ += ".part";
    slot_ = take_slot(part_.string());
    try {
        write_to(part_, "", target_);
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

void OutputFile::commit()
{
    // Some file systems tell of a full disk only here.
    const int descriptor = ::open(part_.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int error = errno;
    const bool closed = descriptor >= 0 && ::close(descriptor) == 0;
    if (!synced || !closed)
        fail(target_, synced ? errno : error);
    auto real = part_;
    real.replace_extension();
    if (::rename(part_.c_str(), real.c_str()) != 0)
        fail(target_, errno);
    committed_ = true;
    free_slot(slot_);
}

void refuse_same_file(const std::filesystem::path& output, std::span<const std::filesystem::path> others)
{
    if (output.empty() || is_device_or_pipe(output))
        return;
    std::error_code error;
    for (const auto& other : others) {
        const bool same_name = !other.empty() && std::filesystem::absolute(other) == std::filesystem::absolute(output);
        if (same_name || std::filesystem::equivalent(output, other, error))
            throw UsageError(output.string() + ": would be written over " + other.string());
    }
}

void write_text_file(const std::filesystem::path& file, std::string_view text)
{
    if (is_device_or_pipe(file)) // /dev/stdout: there is nothing to rename
        return write_to(file, text, file);
    OutputFile output(file);
    write_to(output.part(), text, file);
    output.commit();
}

} // namespace lava
