#pragma once

// The product that attention is made of: a few rows of factors times rows of keys or values, in registers.

#include "compute/cpu/kernels/simd.h"

namespace lava {

/// Sums that stay in registers: so many rows of factors and so many vectors of each row.
template <int bytes> struct RegisterTile
{
    static constexpr int rows = 6;
    static constexpr int vectors = bytes == 64 ? 4 : 2; // 6 x 4 of 32 registers, 6 x 2 of 16
    static constexpr std::int64_t floats = vectors * Simd<bytes>::floats;
};

/// to [RegisterTile::rows, ., to_stride] (+)= sum over i < count of from [rows, i] * rows [i, .], for `vectors` vectors
/// of a row.
template <int bytes, int vectors, bool accumulate>
void multiply_rows(const float* from, std::int64_t from_stride, const float* rows, std::int64_t row_stride,
    std::int64_t count, float* to, std::int64_t to_stride)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    constexpr int tile = RegisterTile<bytes>::rows;
    Floats sums[tile][vectors] = {};
    if constexpr (accumulate) {
#pragma GCC unroll 8
        for (int c = 0; c < tile; ++c) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                sums[c][v] = S::load(to + c * to_stride + v * S::floats);
            }
        }
    }
    for (std::int64_t i = 0; i < count; ++i) {
        Floats row[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            row[v] = S::load(rows + i * row_stride + v * S::floats);
        }
#pragma GCC unroll 8
        for (int c = 0; c < tile; ++c) {
            const float factor = from[c * from_stride + i];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                sums[c][v] += factor * row[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < tile; ++c) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            S::store(to + c * to_stride + v * S::floats, sums[c][v]);
        }
    }
}

} // namespace lava
