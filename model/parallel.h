#pragma once

#include <cstdint>
#include <functional>

namespace lava {

/// Calls work(0) .. work(count - 1) on up to `workers` threads, without gradients and with one ATen thread each, so
/// that the arithmetic of an item does not depend on the number of threads. The first exception is thrown again here.
void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work);

} // namespace lava
