#pragma once

// A block of entries that many query columns attend to, in fp32: an online softmax.

#include "compute/cpu/kernels/exponential.h"
#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/multiply_rows.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

template <int bytes> void scale(float* values, std::int64_t count, const typename Simd<bytes>::Floats& factor)
{
    using S = Simd<bytes>;
    for (std::int64_t i = 0; i < count; i += S::floats) {
        S::store(values + i, S::load(values + i) * factor);
    }
}

/// `width` logits of one column, a multiple of the lanes, become weights exp(logit - maximum); what was summed before
/// is scaled to the same maximum.
template <int bytes>
void update_softmax(
    float* logits, std::int32_t visible, std::int64_t width, const AttentionColumns& columns, std::int64_t column)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    for (std::int64_t i = visible; i < width; ++i) {
        logits[i] = lowest_logit;
    }
    auto top = S::load(logits);
    for (std::int64_t i = S::floats; i < width; i += S::floats) {
        const auto next = S::load(logits + i);
        top = S::larger(next, top);
    }
    const float before = columns.maxima[column];
    const float highest = S::largest(top);
    const float maximum = highest > before ? highest : before;
    float* mass = columns.mass + column * lane_multiple;
    if (maximum != before) {
        columns.maxima[column] = maximum;
        const Floats factor = exp_gradual<bytes>(S::all(before - maximum));
        scale<bytes>(mass, lane_multiple, factor);
        scale<bytes>(columns.sums + column * columns.dim, columns.dim, factor);
    }
    auto sum = S::load(mass);
    for (std::int64_t i = 0; i < width; i += S::floats) {
        const Floats weights = exp_gradual<bytes>(S::load(logits + i) - maximum);
        S::store(logits + i, weights);
        sum += weights;
    }
    S::store(mass, sum);
}

/// weights [tile, block_entries] = logits of a tile of columns with the block's first `width` entries.
template <int bytes>
void tile_logits(const float* queries, std::int64_t key_dim, const float* keys, std::int64_t width, float* weights)
{
    using Tile = RegisterTile<bytes>;
    std::int64_t at = 0;
    for (; at + Tile::floats <= width; at += Tile::floats) {
        multiply_rows<bytes, Tile::vectors, false>(
            queries, key_dim, keys + at, block_entries, key_dim, weights + at, block_entries);
    }
    for (; at < width; at += Simd<bytes>::floats) {
        multiply_rows<bytes, 1, false>(
            queries, key_dim, keys + at, block_entries, key_dim, weights + at, block_entries);
    }
}

/// sums [tile, dim] += weights [tile, block_entries] times the block's first `count` values.
template <int bytes>
void add_tile_values(const float* weights, const float* values, std::int64_t count, std::int64_t dim, float* sums)
{
    using Tile = RegisterTile<bytes>;
    std::int64_t at = 0;
    for (; at + Tile::floats <= dim; at += Tile::floats) {
        multiply_rows<bytes, Tile::vectors, true>(weights, block_entries, values + at, dim, count, sums + at, dim);
    }
    for (; at < dim; at += Simd<bytes>::floats) {
        multiply_rows<bytes, 1, true>(weights, block_entries, values + at, dim, count, sums + at, dim);
    }
}

template <int bytes>
void attend_block(
    const AttentionColumns& columns, const EntryBlock& block, const std::int32_t* visible, std::int64_t count)
{
    constexpr auto tile = RegisterTile<bytes>::rows;
    static_assert(tile == column_tile);
    constexpr auto lanes = Simd<bytes>::floats;
    alignas(64) float weights[tile * block_entries];
    for (std::int64_t c = 0; c < count; c += tile) {
        std::int32_t most = 0;
        for (int i = 0; i < tile; ++i) {
            most = visible[c + i] > most ? visible[c + i] : most;
        }
        const auto width = (most + lanes - 1) / lanes * lanes;
        tile_logits<bytes>(columns.queries + c * columns.key_dim, columns.key_dim, block.keys, width, weights);
        for (int i = 0; i < tile; ++i) {
            if (visible[c + i] > 0) {
                update_softmax<bytes>(weights + i * block_entries, visible[c + i], width, columns, c + i);
            } else { // it may have seen nothing yet, so that there is no maximum to compare the mask with
                for (std::int64_t entry = 0; entry < width; ++entry) {
                    weights[i * block_entries + entry] = 0;
                }
            }
        }
        add_tile_values<bytes>(weights, block.values, most, columns.dim, columns.sums + c * columns.dim);
    }
}

} // namespace lava
