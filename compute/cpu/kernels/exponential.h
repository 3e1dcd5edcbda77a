#pragma once

#include "compute/cpu/kernels/simd.h"

namespace lava {

/// e^x for x <= 0 in fp32, to 2 ulp, as 2^n e^r with |r| <= ln(2) / 2. 2^n in two steps, the last of which may round to
/// a subnormal number, or to 0 as it does below -104.
template <int bytes>
[[gnu::always_inline]] inline typename Simd<bytes>::Floats exponential_of(typename Simd<bytes>::Floats x)
{
    using Floats = typename Simd<bytes>::Floats;
    using Bits = typename Simd<bytes>::Bits;
    constexpr float shift = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
    const Floats lowest = Floats{} - 104.0F;
    x = x > lowest ? x : lowest;
    const Floats shifted = x * 1.44269504F + shift;
    const Floats whole = shifted - shift;
    const Floats r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F; // ln(2) in two parts
    Floats e = r * 1.9875691500e-4F + 1.3981999507e-3F; // the polynomial of Cephes' expf
    for (const float coefficient : {8.3334519073e-3F, 4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F}) {
        e = e * r + coefficient;
    }
    e = e * (r * r) + r + 1.0F;
    const Bits n = (Bits)shifted - (Bits)(Floats{} + shift);
    const Bits half = n >> 1;
    const auto scaled = (Floats)((Bits)e + (half << 23));
    return scaled * (Floats)((n - half + 127) << 23);
}

} // namespace lava
