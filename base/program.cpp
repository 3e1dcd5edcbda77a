#include "base/program.h"

#include "base/error.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <mutex>
#include <new>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace lava {

namespace {

/// A closed stdin, stdout or stderr would give its number to the next file that is opened, and prints would land there.
void occupy_standard_descriptors()
{
    for (int descriptor = 0; descriptor <= 2; ++descriptor)
        if (::fcntl(descriptor, F_GETFD) < 0)
            (void)!::open("/dev/null", descriptor == 2 ? O_WRONLY : O_RDONLY); // so writing to stdout still fails
}

/// One line, even of LibTorch's messages, whose later lines are a backtrace.
void print_error(std::string_view name, std::string_view message)
{
    const auto line = message.substr(0, message.find('\n'));
    std::cerr << name << ": " << line << std::endl;
}

int call(std::string_view name, const std::function<int()>& body)
{
    try {
        return body();
    } catch (const UsageError& error) {
        print_error(name, error.what());
        return 2;
    } catch (const std::bad_alloc&) {
        print_error(name, "not enough memory");
    } catch (const std::exception& error) {
        const std::string_view message = error.what(); // LibTorch's allocator has an exception of its own
        print_error(name, message.find("DefaultCPUAllocator") == message.npos ? message : "not enough memory");
    }
    return 1;
}

bool reader_is_gone()
{
    pollfd output = {STDOUT_FILENO, POLLOUT, 0};
    return ::poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0;
}

} // namespace

int run_program(std::string_view name, const std::function<int()>& body)
{
    ::signal(SIGPIPE, SIG_IGN); // so that unfinished output files are removed, as after any failure
    occupy_standard_descriptors();
    const int status = call(name, body);
    errno = 0;
    std::cout.flush();
    if (std::fflush(stdout) == 0 && std::cout.good() && std::ferror(stdout) == 0)
        return status;
    const int error = errno;
    if (status == 0 && !reader_is_gone())
        print_error(name,
            std::string("standard output: cannot be written")
                + (error != 0 ? std::string(": ") + std::strerror(error) : ""));
    return status != 0 ? status : 1;
}

struct Progress::State
{
    std::string what;
    long total = 0;
    long done = 0;
    std::mutex mutex;
    std::chrono::steady_clock::time_point shown{};

    void show()
    {
        std::cerr << '\r' << what << ' ' << done << '/' << total << "\033[K" << std::flush;
        shown = std::chrono::steady_clock::now();
    }
};

Progress::Progress(std::string_view what, long total)
    : state_(::isatty(STDERR_FILENO) != 0 ? new State{std::string(what), total, 0, {}, {}} : nullptr)
{
    if (state_ != nullptr)
        state_->show();
}

Progress::~Progress()
{
    if (state_ != nullptr)
        std::cerr << "\r\033[K" << std::flush;
    delete state_;
}

void Progress::step()
{
    if (state_ == nullptr)
        return;
    const std::lock_guard lock(state_->mutex);
    ++state_->done;
    if (std::chrono::steady_clock::now() - state_->shown > std::chrono::milliseconds(50)
        || state_->done == state_->total)
        state_->show();
}

std::string printable(std::string_view text)
{
    std::string result(text);
    std::ranges::replace_if(
        result, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    return result;
}

std::string_view version()
{
    return LAVA_VERSION;
}

} // namespace lava
