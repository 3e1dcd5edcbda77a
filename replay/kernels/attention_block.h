#pragma once

// A block of entries that many query columns attend to, in fp32: an online softmax.

#include "replay/kernels/exponential.h"
#include "replay/kernels/kernels.h"
#include "replay/kernels/simd.h"

namespace lava {

/// Columns that are multiplied at once, and vectors of a row: as many sums as registers hold.
template <int bytes> struct AttentionTile
{
    static constexpr int columns = static_cast<int>(column_tile);
    static constexpr int vectors = bytes == 64 ? 4 : 2;
    static constexpr std::int64_t floats = vectors * Simd<bytes>::floats;
};

/// to [tile, ., stride] (+)= sum over i < count of from [tile, .] * rows [count, .], for `vectors` vectors of a row.
template <int bytes, int vectors, bool accumulate>
void multiply_rows(const float* from, std::int64_t from_stride, const float* rows, std::int64_t row_stride,
    std::int64_t count, float* to, std::int64_t to_stride)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    constexpr int tile = AttentionTile<bytes>::columns;
    Floats sums[tile][vectors] = {};
    if constexpr (accumulate) {
#pragma GCC unroll 8
        for (int c = 0; c < tile; ++c) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                sums[c][v] = S::template load<Floats>(to + c * to_stride + v * S::floats);
            }
        }
    }
    for (std::int64_t i = 0; i < count; ++i) {
        Floats row[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
            row[v] = S::template load<Floats>(rows + i * row_stride + v * S::floats);
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

template <int bytes> float largest(const typename Simd<bytes>::Floats& x)
{
    float result = x[0];
    for (std::int64_t lane = 1; lane < Simd<bytes>::floats; ++lane) {
        result = x[lane] > result ? x[lane] : result;
    }
    return result;
}

template <int bytes> void scale(float* values, std::int64_t count, const typename Simd<bytes>::Floats& factor)
{
    using S = Simd<bytes>;
    for (std::int64_t i = 0; i < count; i += S::floats) {
        S::store(values + i, S::template load<typename S::Floats>(values + i) * factor);
    }
}

/// A block's logits of one column become weights exp(logit - maximum); what was summed before is scaled to the same
/// maximum.
template <int bytes>
void update_softmax(float* logits, std::int32_t visible, const AttentionColumns& columns, std::int64_t column)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    for (std::int64_t i = visible; i < block_entries; ++i) {
        logits[i] = lowest_logit;
    }
    auto top = S::template load<Floats>(logits);
    for (std::int64_t i = S::floats; i < block_entries; i += S::floats) {
        const auto next = S::template load<Floats>(logits + i);
        top = next > top ? next : top;
    }
    const float before = columns.maxima[column];
    const float highest = largest<bytes>(top);
    const float maximum = highest > before ? highest : before;
    for (std::int64_t i = 0; i < block_entries; i += S::floats) {
        const Floats distance = S::template load<Floats>(logits + i) - maximum;
        S::store(logits + i, exponential_of<bytes>(distance));
    }
    for (std::int64_t i = visible; i < block_entries; ++i) {
        logits[i] = 0; // for a column that has seen nothing yet, the mask is its maximum
    }
    float* mass = columns.mass + column * lane_multiple;
    if (maximum != before) {
        columns.maxima[column] = maximum;
        const Floats factor = exponential_of<bytes>(Floats{} + (before - maximum));
        scale<bytes>(mass, lane_multiple, factor);
        scale<bytes>(columns.sums + column * columns.dim, columns.dim, factor);
    }
    auto sum = S::template load<Floats>(mass);
    for (std::int64_t i = 0; i < block_entries; i += S::floats) {
        sum += S::template load<Floats>(logits + i);
    }
    S::store(mass, sum);
}

template <int bytes>
void attend_block(
    const AttentionColumns& columns, const EntryBlock& block, const std::int32_t* visible, std::int64_t count)
{
    using Tile = AttentionTile<bytes>;
    constexpr auto lanes = Simd<bytes>::floats;
    alignas(64) float weights[Tile::columns * block_entries];
    const auto key_dim = columns.key_dim, dim = columns.dim;
    for (std::int64_t c = 0; c < count; c += Tile::columns) {
        std::int32_t most = 0;
        for (int i = 0; i < Tile::columns; ++i) {
            most = visible[c + i] > most ? visible[c + i] : most;
        }
        for (std::int64_t at = 0; at < most; at += Tile::floats) {
            multiply_rows<bytes, Tile::vectors, false>(columns.queries + c * key_dim, key_dim, block.keys + at,
                block_entries, key_dim, weights + at, block_entries);
        }
        for (int i = 0; i < Tile::columns; ++i) {
            update_softmax<bytes>(weights + i * block_entries, visible[c + i], columns, c + i);
        }
        float* sums = columns.sums + c * dim;
        std::int64_t at = 0;
        for (; at + Tile::floats <= dim; at += Tile::floats) {
            multiply_rows<bytes, Tile::vectors, true>(
                weights, block_entries, block.values + at, dim, most, sums + at, dim);
        }
        for (; at < dim; at += lanes) {
            multiply_rows<bytes, 1, true>(weights, block_entries, block.values + at, dim, most, sums + at, dim);
        }
    }
}

} // namespace lava
