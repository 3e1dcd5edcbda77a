#pragma once

// Logits and exponentials, in double: an error here would be in every loss.

#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

template <int bytes, int keys, int vectors>
void logit_tile(const float* key, std::int64_t dim, const double* queries, std::int64_t columns, double* logits)
{
    using S = Simd<bytes>;
    typename S::Doubles sums[keys][vectors] = {};
    for (std::int64_t i = 0; i < dim; ++i) {
        typename S::Doubles query[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            query[v] = S::template load<typename S::Doubles>(queries + i * columns + v * S::doubles);
        }
#pragma GCC unroll 8
        for (int k = 0; k < keys; ++k) {
            const auto x = static_cast<double>(key[k * dim + i]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                sums[k][v] += x * query[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int k = 0; k < keys; ++k) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            S::store(logits + k * columns + v * S::doubles, sums[k][v]);
        }
    }
}

template <int bytes>
void logits(
    const float* keys, std::int64_t count, std::int64_t dim, const double* queries, std::int64_t columns, double* to)
{
    constexpr int tile = 4;
    constexpr int vectors = 2; // lane_multiple columns are 2, 4 or 8 vectors
    constexpr auto step = vectors * Simd<bytes>::doubles;
    std::int64_t key = 0;
    for (; key + tile <= count; key += tile) {
        for (std::int64_t column = 0; column < columns; column += step) {
            logit_tile<bytes, tile, vectors>(
                keys + key * dim, dim, queries + column, columns, to + key * columns + column);
        }
    }
    for (; key < count; ++key) {
        for (std::int64_t column = 0; column < columns; column += step) {
            logit_tile<bytes, 1, vectors>(
                keys + key * dim, dim, queries + column, columns, to + key * columns + column);
        }
    }
}

template <int bytes> void raise_maxima(const double* logits, std::int64_t count, std::int64_t columns, double* maxima)
{
    using S = Simd<bytes>;
    for (std::int64_t column = 0; column < columns; column += S::doubles) {
        auto largest = S::template load<typename S::Doubles>(maxima + column);
        for (std::int64_t row = 0; row < count; ++row) {
            const auto x = S::template load<typename S::Doubles>(logits + row * columns + column);
            largest = x > largest ? x : largest;
        }
        S::store(maxima + column, largest);
    }
}

// e^x for x <= 0, within 1e-8 relative, as 2^n e^r with |r| <= ln(2) / 2. Below -700, where float is 0 long since, 0.
template <int bytes> typename Simd<bytes>::Doubles precise_exponential(typename Simd<bytes>::Doubles x)
{
    using S = Simd<bytes>;
    constexpr double log2_e = 1.4426950408889634;
    constexpr double ln_2 = 0.6931471805599453;
    constexpr double shift = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
    constexpr double floor = -700;
    const typename S::Doubles lowest = typename S::Doubles{} + floor;
    x = x > lowest ? x : lowest;
    const typename S::Doubles shifted = x * log2_e + shift;
    const typename S::Doubles r = x - (shifted - shift) * ln_2;
    typename S::Doubles e = typename S::Doubles{} + 1.0 / 5040;
    for (const double coefficient : {1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0}) {
        e = e * r + coefficient;
    }
    const auto exponent = (typename S::Integers)shifted << 52; // the high bits of `shift` fall out
    return (typename S::Doubles)((typename S::Integers)e + exponent);
}

template <int bytes>
void exponentials(const double* logits, std::int64_t count, std::int64_t columns, const double* maxima, float* weights)
{
    using S = Simd<bytes>;
    for (std::int64_t row = 0; row < count; ++row) {
        for (std::int64_t column = 0; column < columns; column += S::doubles) {
            const auto x = S::template load<typename S::Doubles>(logits + row * columns + column)
                - S::template load<typename S::Doubles>(maxima + column);
            S::store_narrowed(weights + row * columns + column, precise_exponential<bytes>(x));
        }
    }
}

} // namespace lava
