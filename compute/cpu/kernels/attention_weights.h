#pragma once

// Logits and exponentials, in double: an error here would be in every loss.

#include "compute/cpu/kernels/exponential.h"
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
            query[v] = S::load(queries + i * columns + v * S::doubles);
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
        auto largest = S::load(maxima + column);
        for (std::int64_t row = 0; row < count; ++row) {
            const auto x = S::load(logits + row * columns + column);
            largest = S::larger(x, largest);
        }
        S::store(maxima + column, largest);
    }
}

template <int bytes>
void exponentials(const double* logits, std::int64_t count, std::int64_t columns, const double* maxima, float* weights)
{
    using S = Simd<bytes>;
    for (std::int64_t row = 0; row < count; ++row) {
        for (std::int64_t column = 0; column < columns; column += S::doubles) {
            const auto x = S::load(logits + row * columns + column) - S::load(maxima + column);
            S::store_narrowed(weights + row * columns + column, exp_double_for_floats<bytes>(x));
        }
    }
}

} // namespace lava
