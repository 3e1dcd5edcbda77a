#pragma once

// e^x for x <= 0 as 2^n e^r with |r| <= ln(2) / 2, four times: results are compared to the bit, and no two of these
// agree in all bits, so none can stand in for another.
//
// | function              | in     | error, measured                                       | for | | exp_flushed |
// float  | 1.01 ulp; 0 below -87                                 | a model's attention and gates      | | exp_gradual
// | float  | 1 ulp; rounds to subnormal numbers, 0 below -104      | scores, closed loop, KL            | | exp_double
// | double | 1 ulp; 0 below -708                                   | changes of a gate                  | |
// exp_double_for_floats | double | 1e-8 relative, in 8 terms instead of 14               | attention weights stored as
// floats |
//
// The two of float share their range reduction and their polynomial and part in the last step, in how r^2 and 2^n are
// multiplied: 1 value in 200 between e^-20 and 1 differs, by 1 ulp, and exp_gradual takes 8 % more time. A model's
// probabilities are summed at once, so that what flushing leaves out is below e^-87 of a sum of at least 1; a
// divergence adds small terms alone, which flushing would cut off.

#include "compute/cpu/kernels/simd.h"

namespace lava {

/// A float's exponent n, rounded by adding `shift`, and the polynomial's argument and value without its last two terms.
template <int bytes> struct ReducedExponent
{
    using Floats = typename Simd<bytes>::Floats;
    static constexpr float shift = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits

    Floats shifted; ///< n + shift
    Floats whole; ///< n
    Floats r;
    Floats polynomial; ///< e^r = 1 + r + r^2 polynomial

    [[gnu::always_inline]] explicit ReducedExponent(const Floats& x)
        : shifted(x * 1.44269504088896341F + shift)
        , whole(shifted - shift)
        , r((x - whole * 0.693359375F) + whole * 2.12194440e-4F) // ln(2) in two parts
        , polynomial(r * 1.9875691500e-4F + 1.3981999507e-3F) // Cephes' expf
    {
        for (const float coefficient : {8.3334519073e-3F, 4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F}) {
            polynomial = polynomial * r + coefficient;
        }
    }
};

/// e^x for x <= 0 within 2 ulp; exactly 0 below -87, where 2^n would be subnormal.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Floats exp_flushed(const typename Simd<bytes>::Floats& x)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    using Bits = typename S::Bits;
    const ReducedExponent<bytes> reduced(S::larger(x, S::all(-87.0F)));
    const auto& r = reduced.r;
    const Floats e = reduced.polynomial * r * r + r + 1.0F;
    const Bits n = (Bits)reduced.shifted - (Bits)S::all(reduced.shift);
    return x < S::all(-87.0F) ? Floats{} : e * (Floats)((n + 127) << 23);
}

/// e^x for x <= 0 within 2 ulp, also where it is subnormal; 0 below -104. For 0 < x <= 88 as exact. 2^n is multiplied
/// in two steps, the last of which may round.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Floats exp_gradual(const typename Simd<bytes>::Floats& x)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    using Bits = typename S::Bits;
    const ReducedExponent<bytes> reduced(S::larger(x, S::all(-104.0F)));
    const auto& r = reduced.r;
    const Floats e = reduced.polynomial * (r * r) + r + 1.0F;
    const Bits n = (Bits)reduced.shifted - (Bits)S::all(reduced.shift);
    const Bits half = n >> 1;
    const auto scaled = (Floats)((Bits)e + (half << 23));
    return scaled * (Floats)((n - half + 127) << 23);
}

/// e^x for x <= 0 within 2 ulp; exactly 0 below -708. Taylor's series, of which the first term left out is below 4e-18
/// of the sum.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Doubles exp_double(const typename Simd<bytes>::Doubles& x)
{
    using S = Simd<bytes>;
    using Doubles = typename S::Doubles;
    using Integers = typename S::Integers;
    constexpr double shift = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
    const Doubles clamped = S::larger(x, S::all(-708.0));
    const Doubles shifted = clamped * 1.4426950408889634 + shift;
    const Doubles n = shifted - shift;
    const Doubles r = clamped - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10; // ln(2) in two parts
    constexpr double factorials[]{
        479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    Doubles sum = S::all(1.0 / 6227020800.0);
    for (const double factorial : factorials) {
        sum = sum * r + 1.0 / factorial;
    }
    const Integers exponent = ((Integers)shifted - 0x4338000000000000 + 1023) << 52; // bits, not values
    return x < S::all(-708.0) ? Doubles{} : sum * (Doubles)exponent;
}

/// e^x for x <= 0 within 1e-8 relative, for results that become floats. Below -700, where a float is 0 long since,
/// e^-700.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Doubles exp_double_for_floats(
    const typename Simd<bytes>::Doubles& x)
{
    using S = Simd<bytes>;
    using Doubles = typename S::Doubles;
    using Integers = typename S::Integers;
    constexpr double log2_e = 1.4426950408889634;
    constexpr double ln_2 = 0.6931471805599453;
    constexpr double shift = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
    const Doubles clamped = S::larger(x, S::all(-700.0));
    const Doubles shifted = clamped * log2_e + shift;
    const Doubles r = clamped - (shifted - shift) * ln_2;
    Doubles e = S::all(1.0 / 5040);
    for (const double coefficient : {1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0}) {
        e = e * r + coefficient;
    }
    const auto exponent = (Integers)shifted << 52; // the high bits of `shift` fall out
    return (Doubles)((Integers)e + exponent);
}

} // namespace lava
