#pragma once

#include <cstdint>

namespace lava {

// SplitMix64 (Steele, Lea and Flood 2014): random numbers that are the same on any machine. The n-th number of a seed
// is split_mix(seed + n * split_mix_increment).

inline constexpr std::uint64_t split_mix_increment = 0x9e3779b97f4a7c15U;

inline std::uint64_t split_mix(std::uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

} // namespace lava
