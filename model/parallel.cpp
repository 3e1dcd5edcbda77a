#include "model/parallel.h"

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

/// One ATen thread while it lives.
class SingleThreaded
{
public:
    SingleThreaded() { at::set_num_threads(1); }
    ~SingleThreaded() { at::set_num_threads(before_); }
    SingleThreaded(const SingleThreaded&) = delete;
    SingleThreaded& operator=(const SingleThreaded&) = delete;

private:
    int before_ = at::get_num_threads();
};

} // namespace

void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work)
{
    std::atomic<std::int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto run = [&] {
        try {
            const c10::InferenceMode inference;
            const SingleThreaded single;
            for (std::int64_t item = next++; item < count; item = next++)
                work(item);
        } catch (...) {
            const std::lock_guard lock(failure_mutex);
            if (!failure)
                failure = std::current_exception();
            next = count;
        }
    };
    if (workers == 1 || count == 1) {
        run();
    } else {
        std::vector<std::jthread> threads;
        for (std::int64_t i = 0; i < std::min<std::int64_t>(workers, count); ++i)
            threads.emplace_back(run);
    }
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace lava
