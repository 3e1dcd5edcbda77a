#include "compute/parallel.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lava {

namespace {

thread_local int workers = 0; // 0: as many as ATen has

} // namespace

int worker_threads()
{
    return workers > 0 ? workers : at::get_num_threads();
}

ThreadCounts::ThreadCounts(int aten, int workers_now)
    : aten_before_(at::get_num_threads())
    , workers_before_(workers)
{
    at::set_num_threads(aten);
    workers = workers_now;
}

ThreadCounts::~ThreadCounts()
{
    at::set_num_threads(aten_before_);
    workers = workers_before_;
}

void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work)
{
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
    std::atomic<std::int64_t> next = 0;
    std::atomic<bool> failed = false;
    std::exception_ptr not_started; // where a thread's own memory ran out
    std::mutex mutex; // guards not_started
    const auto work_on = [&] {
        const SingleThreaded single;
        const c10::InferenceMode inference;
        while (!failed) {
            const auto index = next++;
            if (index >= count) {
                return;
            }
            try {
                work(index);
            } catch (...) {
                errors[static_cast<std::size_t>(index)] = std::current_exception();
                failed = true;
            }
        }
    };
    const auto run = [&] { // an exception that leaves a thread would end the program
        try {
            work_on();
        } catch (...) {
            const std::lock_guard lock(mutex);
            not_started = std::current_exception();
            failed = true;
        }
    };
    std::vector<std::jthread> threads;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(workers, count); ++i) {
        threads.emplace_back(run);
    }
    run(); // the calling thread is one of them
    threads.clear();
    for (const auto& error : errors) {
        if (error) {
            std::rethrow_exception(error);
        }
    }
    if (not_started) {
        std::rethrow_exception(not_started);
    }
}

int default_threads()
{
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

} // namespace lava
