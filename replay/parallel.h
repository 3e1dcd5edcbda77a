#pragma once

#include <cstdint>
#include <functional>

namespace lava {

/// Runs task(0) .. task(count - 1) on `threads` threads, the calling one among them, each with one ATen thread and in
/// inference mode, so that a task's result does not depend on how many there are. Rethrows the exception of the first
/// task, by index, that threw.
void parallel_tasks(std::int64_t count, int threads, const std::function<void(std::int64_t)>& task);

/// Hardware threads this process may use; at least 1.
int default_threads();

} // namespace lava
