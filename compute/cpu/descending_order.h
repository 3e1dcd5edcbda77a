#pragma once

#include <cstdint>

namespace lava {

/// Order of `count` values, largest first, equal values by index: a stable radix sort. -0 equals +0; NaN is not
/// allowed.
void descending_order(const float* values, std::int64_t count, std::uint32_t* order);

} // namespace lava
