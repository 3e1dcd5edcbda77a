#include "capture/background.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

namespace lava {

Background::Background(std::size_t most_waiting)
    : most_waiting_(most_waiting)
    , thread_([this] { run(); })
{ }

Background::~Background()
{
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        jobs_.clear();
    }
    changed_.notify_all();
    thread_.join();
}

void Background::push(std::function<void()> job)
{
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.size() < most_waiting_ || failure_; });
    throw_failure();
    jobs_.push_back(std::move(job));
    changed_.notify_all();
}

void Background::finish()
{
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return (jobs_.empty() && !busy_) || failure_; });
    throw_failure();
}

void Background::throw_failure()
{
    if (failure_) {
        std::rethrow_exception(failure_);
    }
}

void Background::run()
{
    const c10::InferenceMode no_gradients;
    at::set_num_threads(1); // the cores belong to the model
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
        if (stop_) {
            return;
        }
        std::function<void()> job = std::move(jobs_.front());
        jobs_.pop_front();
        busy_ = true;
        lock.unlock();
        std::exception_ptr failure;
        try {
            job();
        } catch (...) {
            failure = std::current_exception();
        }
        job = nullptr; // frees the job's tensors before anyone waits for them
        lock.lock();
        busy_ = false;
        failure_ = failure_ ? failure_ : failure;
        changed_.notify_all();
    }
}

} // namespace lava
