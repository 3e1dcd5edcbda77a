#pragma once

#include "base/split_mix.h"

#include <cstdint>

namespace lava {

/// Random numbers by counting, so that one depends on its place alone.
inline std::uint64_t mix_bits(std::uint64_t x)
{
    return split_mix(x + split_mix_increment);
}

/// The numbers of one head of one layer under a seed.
inline std::uint64_t random_stream(std::uint64_t seed, std::int64_t head_of_model)
{
    return mix_bits(mix_bits(seed) ^ static_cast<std::uint64_t>(head_of_model));
}

/// The i-th number of a stream, 0 <= x < 1: 24 bits, exact in a float.
inline float uniform_number(std::uint64_t stream, std::int64_t i)
{
    return static_cast<float>(mix_bits(stream ^ static_cast<std::uint64_t>(i)) >> 40) * 0x1p-24F;
}

} // namespace lava
