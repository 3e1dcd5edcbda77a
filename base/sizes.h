#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

namespace lava {

/// A count or place, never negative, as the standard library wants it.
constexpr std::size_t index(std::int64_t value)
{
    return static_cast<std::size_t>(value);
}

/// a / b, rounded up; both positive, or a zero.
constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b)
{
    return (a + b - 1) / b;
}

constexpr std::int64_t rounded_up(std::int64_t value, std::int64_t multiple)
{
    return ceil_divide(value, multiple) * multiple;
}

inline std::int64_t sum_of(std::span<const std::int64_t> values)
{
    return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

} // namespace lava
