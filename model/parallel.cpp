#include "model/parallel.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace lava {

SingleThreaded::SingleThreaded()
    : before_(at::get_num_threads())
{
    at::set_num_threads(1);
}

SingleThreaded::~SingleThreaded()
{
    at::set_num_threads(before_);
}

void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work)
{
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
    std::atomic<std::int64_t> next = 0;
    std::atomic<bool> failed = false;
    const auto run = [&] {
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
}

int default_threads()
{
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

} // namespace lava
