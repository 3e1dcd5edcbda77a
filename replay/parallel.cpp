#include "replay/parallel.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace lava {

namespace {

// One ATen thread while it lives.
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

void parallel_tasks(std::int64_t count, int threads, const std::function<void(std::int64_t)>& task)
{
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
    std::atomic<std::int64_t> next = 0;
    std::atomic<bool> failed = false;
    const auto work = [&] {
        const SingleThreaded single;
        const c10::InferenceMode inference;
        while (!failed) {
            const auto index = next++;
            if (index >= count) {
                return;
            }
            try {
                task(index);
            } catch (...) {
                errors[static_cast<std::size_t>(index)] = std::current_exception();
                failed = true;
            }
        }
    };
    std::vector<std::jthread> workers;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, count); ++i) {
        workers.emplace_back(work);
    }
    work(); // the calling thread is one of them
    workers.clear();
    for (const auto& error : errors) {
        if (error) {
            std::rethrow_exception(error);
        }
    }
}

int default_threads()
{
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

} // namespace lava
