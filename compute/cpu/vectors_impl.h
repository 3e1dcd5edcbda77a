#pragma once

// Part of arithmetic_impl.h: vectors as wide as the instruction set's.

#include <cstdint>

namespace lava {

namespace {

constexpr std::int64_t lanes = LAVA_LANES;
using Floats [[gnu::vector_size(LAVA_LANES * 4), gnu::aligned(4), gnu::may_alias]] = float;
using Ints [[gnu::vector_size(LAVA_LANES * 4)]] = std::int32_t;

inline Floats load(const float* p)
{
    return *reinterpret_cast<const Floats*>(p);
}

inline void store(float* p, Floats value)
{
    *reinterpret_cast<Floats*>(p) = value;
}

inline Floats all(float value)
{
    return value - Floats{};
}

inline Floats larger(Floats a, Floats b)
{
    return a > b ? a : b;
}

/// e^x for x <= 0 within 2 units in the last place; exactly 0 below -87. Range reduction by ln 2 in two parts, then the
/// polynomial of Cephes' expf.
inline Floats exponential(Floats x)
{
    const Floats magic = all(12582912.0F); // 1.5 * 2^23: adding it rounds to an integer
    const Floats clamped = larger(x, all(-87.0F));
    const Floats shifted = clamped * 1.44269504088896341F + magic;
    const Floats n = shifted - magic;
    const Floats r = clamped - n * 0.693359375F + n * 2.12194440e-4F;
    Floats p = all(1.9875691500e-4F);
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
    return x < all(-87.0F) ? Floats{} : p * reinterpret_cast<const Floats&>(exponent);
}

inline float sum_of(Floats v)
{
    float sum = 0;
    for (std::int64_t i = 0; i < lanes; ++i)
        sum += v[i];
    return sum;
}

inline float largest_of(Floats v)
{
    float largest = v[0];
    for (std::int64_t i = 1; i < lanes; ++i)
        largest = v[i] > largest ? v[i] : largest;
    return largest;
}

} // namespace

} // namespace lava
