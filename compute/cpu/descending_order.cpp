#include "compute/cpu/descending_order.h"

#include "compute/descending_key.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace lava {

void descending_order(const float* values, std::int64_t count, std::uint32_t* order)
{
    constexpr int digit_bits = 11;
    constexpr std::uint32_t digit_mask = (1U << digit_bits) - 1;
    const auto size = static_cast<std::size_t>(count);
    std::vector<std::uint32_t> keys(size);
    std::array<std::array<std::uint32_t, 1U << digit_bits>, 3> offsets{};
    for (std::size_t i = 0; i < size; ++i) {
        keys[i] = descending_key(values[i]);
        for (int digit = 0; digit < 3; ++digit) {
            ++offsets[digit][keys[i] >> (digit * digit_bits) & digit_mask];
        }
    }
    std::vector<std::uint32_t> other(size);
    for (std::size_t i = 0; i < size; ++i) {
        order[i] = static_cast<std::uint32_t>(i);
    }
    auto* from = order;
    auto* to = other.data();
    for (int digit = 0; digit < 3; ++digit) {
        std::uint32_t start = 0;
        for (auto& offset : offsets[digit]) {
            start += std::exchange(offset, start);
        }
        for (std::size_t i = 0; i < size; ++i) {
            to[offsets[digit][keys[from[i]] >> (digit * digit_bits) & digit_mask]++] = from[i];
        }
        std::swap(from, to);
    }
    std::copy(from, from + count, order); // three passes end in `other`
}

} // namespace lava
