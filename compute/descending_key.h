#pragma once

#include "compute/cuda/block.h"

#include <cstring>

namespace lava {

/// Ascending order of these keys is descending order of the floats; -0 equals +0.
LAVA_HOST_DEVICE inline std::uint32_t descending_key(float value)
{
    const float positive_zero = value == 0 ? 0 : value;
    std::uint32_t bits = 0;
    std::memcpy(&bits, &positive_zero, sizeof bits);
    const std::uint32_t ascending = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
    return ~ascending;
}

} // namespace lava
