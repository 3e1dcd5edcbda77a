#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace lava {

/// Runs jobs one after the other on a thread of its own, so that the disk works while the model does. At most
/// `most_waiting` jobs wait, which bounds the memory that they hold.
class Background
{
public:
    explicit Background(std::size_t most_waiting);
    ~Background(); ///< drops what has not begun, and waits for what has
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;

    /// Waits while too many wait. Throws what an earlier job threw.
    void push(std::function<void()> job);
    /// Waits for all jobs. Throws what one of them threw.
    void finish();

private:
    void run();
    void throw_failure();

    std::size_t most_waiting_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> jobs_;
    std::exception_ptr failure_;
    bool busy_ = false, stop_ = false;
    std::thread thread_; ///< last, since it uses all of the above
};

} // namespace lava
