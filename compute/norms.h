#pragma once

#include <cmath>
#include <cstdint>

namespace lava {

struct Norms
{
    double l1 = 0;
    double l2 = 0;
};

/// Norms of value(0) .. value(count - 1), summed in double one after the other.
template <typename Value> Norms norms_over(std::int64_t count, const Value& value)
{
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double x = value(i);
        sum += std::abs(x);
        squares += x * x;
    }
    return {sum, std::sqrt(squares)};
}

/// Norms of values [count].
template <typename T> Norms norms_of(const T* values, std::int64_t count)
{
    return norms_over(count, [values](std::int64_t i) { return static_cast<double>(values[i]); });
}

} // namespace lava
