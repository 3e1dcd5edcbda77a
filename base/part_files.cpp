#include "base/part_files.h"

#include "base/sha256.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace lava {

namespace {

constexpr std::string_view ending = ".part";
constexpr std::string_view unknown_kernel = "0";
constexpr std::size_t random_digits = 16;

/// A process number says who is alive only to the kernel, from boot to boot, and the PID namespace that gave it.
std::string make_kernel_mark()
{
    std::string boot;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
    struct stat numbers = {};
    if (boot.empty() || ::stat("/proc/self/ns/pid", &numbers) != 0)
        return std::string(unknown_kernel);
    const auto text = boot + " " + std::to_string(numbers.st_ino);
    return sha256(std::as_bytes(std::span(text))).substr(0, 16);
}

const std::string& kernel_mark()
{
    static const std::string mark = make_kernel_mark();
    return mark;
}

/// What the names of all parts of `real` begin with.
std::string beginning_of(const std::filesystem::path& real)
{
    constexpr std::size_t most = 200; // bytes of the target's name: a name may have 255
    return "." + real.filename().string().substr(0, most) + ".";
}

bool is_random(std::string_view text)
{
    return text.size() == random_digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Whether `rest` of a name, behind its beginning, is that of a process that this kernel knows no more. A number that
/// another process has by now counts as alive: such a part stays.
bool is_abandoned(std::string_view rest)
{
    long process = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), process);
    if (error != std::errc() || process <= 0 || !rest.ends_with(ending))
        return false;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    rest.remove_suffix(ending.size());
    const auto mark = "-" + kernel_mark() + "-";
    return rest.starts_with(mark) && is_random(rest.substr(mark.size())) && ::kill(static_cast<pid_t>(process), 0) != 0
        && errno == ESRCH;
}

} // namespace

std::filesystem::path part_of(const std::filesystem::path& real)
{
    std::random_device random;
    char number[random_digits + 1];
    std::snprintf(number, sizeof number, "%08x%08x", random(), random());
    return real.parent_path()
        / (beginning_of(real) + std::to_string(::getpid()) + "-" + kernel_mark() + "-" + number + std::string(ending));
}

void remove_abandoned_parts(const std::filesystem::path& real)
{
    if (kernel_mark() == unknown_kernel)
        return;
    const auto beginning = beginning_of(real);
    std::error_code error;
    std::filesystem::directory_iterator entry(real.parent_path(), error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
        const auto name = entry->path().filename().string();
        std::error_code ignored;
        if (name.starts_with(beginning) && is_abandoned(std::string_view(name).substr(beginning.size()))
            && entry->symlink_status(ignored).type() == std::filesystem::file_type::regular)
            ::unlink(entry->path().c_str());
    }
}

} // namespace lava
