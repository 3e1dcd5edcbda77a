#include "replay/parallel.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace lava {

void parallel_tasks(std::int64_t count, int threads, const std::function<void(std::int64_t)>& task)
{
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
    std::atomic<std::int64_t> next = 0;
    std::atomic<bool> failed = false;
    const auto work = [&] {
        at::set_num_threads(1);
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
    std::vector<std::thread> workers;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(threads, count); ++i) {
        workers.emplace_back(work);
    }
    for (auto& worker : workers) {
        worker.join();
    }
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
