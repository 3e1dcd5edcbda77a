#pragma once

// Attention of a tile of a head's query rows, in fp32: what stands behind AttentionArithmetic.

#include "compute/cpu/attention_tile.h"
#include "compute/cpu/kernels/exponential.h"
#include "compute/cpu/kernels/multiply_rows.h"

namespace lava {

static_assert(attention_block_keys % RegisterTile<64>::floats == 0);
static_assert(attention_tile_rows % RegisterTile<64>::rows == 0);

/// The tile's working memory.
struct TileMemory
{
    float* probabilities; // [blocks, attention_tile_rows, attention_block_keys], each block's relative to its maximum
    float* output; // [attention_tile_rows, padded_dim]
    float* maxima; // [attention_tile_rows, blocks], the maximum when the block was taken
    float* maximum; // [attention_tile_rows]
    float* sum; // [attention_tile_rows]
    std::int64_t blocks; // that are kept
};

template <int bytes> TileMemory tile_memory(const AttentionTile& tile, std::int64_t blocks)
{
    TileMemory memory;
    memory.blocks = blocks;
    memory.probabilities = tile.scratch;
    memory.output = memory.probabilities + blocks * attention_tile_rows * attention_block_keys;
    memory.maxima = memory.output + attention_tile_rows * tile.padded_dim;
    memory.maximum = memory.maxima + attention_tile_rows * blocks;
    memory.sum = memory.maximum + attention_tile_rows;
    for (std::int64_t i = 0; i < attention_tile_rows * tile.padded_dim; ++i) {
        memory.output[i] = 0;
    }
    for (std::int64_t r = 0; r < attention_tile_rows; ++r) {
        memory.maximum[r] = -3e38F;
        memory.sum[r] = 0;
    }
    return memory;
}

/// q k^T of `columns` keys from `begin` on, [attention_tile_rows, attention_block_keys].
template <int bytes> void score_keys(const AttentionTile& tile, std::int64_t begin, std::int64_t columns, float* scores)
{
    using Registers = RegisterTile<bytes>;
    for (std::int64_t column = 0; column < columns; column += Registers::floats) {
        const float* keys = tile.keys + (begin + column) * tile.head_dim;
        for (std::int64_t r = 0; r < tile.rows; r += Registers::rows) {
            multiply_rows<bytes, Registers::vectors, false>(tile.q + r * tile.head_dim, tile.head_dim, keys,
                Registers::floats, tile.head_dim, scores + r * attention_block_keys + column, attention_block_keys);
        }
    }
}

/// Scores of a row's block become probabilities relative to the row's maximum so far; its output and sum are rescaled.
template <int bytes>
void exponentiate_row(const AttentionTile& tile, const TileMemory& memory, std::int64_t r, std::int64_t visible,
    std::int64_t columns, float* row)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    for (std::int64_t j = visible; j < columns; ++j) {
        row[j] = -3e38F;
    }
    Floats largest = S::all(memory.maximum[r]);
    for (std::int64_t j = 0; j < columns; j += S::floats) {
        largest = S::larger(largest, S::load(row + j));
    }
    const float maximum = S::largest(largest);
    Floats sum{};
    for (std::int64_t j = 0; j < columns; j += S::floats) {
        const Floats p = exp_flushed<bytes>(S::load(row + j) - maximum);
        S::store(row + j, p);
        sum += p;
    }
    if (maximum != memory.maximum[r]) {
        const float scale = exp_flushed<bytes>(S::all(memory.maximum[r] - maximum))[0];
        memory.sum[r] *= scale;
        float* output = memory.output + r * tile.padded_dim;
        for (std::int64_t j = 0; j < tile.padded_dim; j += S::floats) {
            S::store(output + j, S::load(output + j) * scale);
        }
        memory.maximum[r] = maximum;
    }
    memory.sum[r] += S::sum_in_order(sum);
}

template <int bytes, int vectors>
void add_values(const AttentionTile& tile, const float* p, const float* values, std::int64_t keys, float* output)
{
    for (std::int64_t r = 0; r < tile.rows; r += RegisterTile<bytes>::rows) {
        multiply_rows<bytes, vectors, true>(p + r * attention_block_keys, attention_block_keys, values, tile.padded_dim,
            keys, output + r * tile.padded_dim, tile.padded_dim);
    }
}

/// output += probabilities of a block times its values.
template <int bytes>
void weigh_values(
    const AttentionTile& tile, const TileMemory& memory, const float* p, std::int64_t begin, std::int64_t keys)
{
    using Registers = RegisterTile<bytes>;
    const float* values = tile.values + begin * tile.padded_dim;
    std::int64_t column = 0;
    for (; column + Registers::floats <= tile.padded_dim; column += Registers::floats) {
        add_values<bytes, Registers::vectors>(tile, p, values + column, keys, memory.output + column);
    }
    for (; column < tile.padded_dim; column += Simd<bytes>::floats) {
        add_values<bytes, 1>(tile, p, values + column, keys, memory.output + column);
    }
}

/// Column sums of a block, [columns]: what was relative to the maximum of its time is brought to the last one's.
template <int bytes>
void sum_columns(const AttentionTile& tile, const TileMemory& memory, std::int64_t index, std::int64_t columns)
{
    const float* p = memory.probabilities + index * attention_tile_rows * attention_block_keys;
    float factors[attention_tile_rows];
    for (std::int64_t r = 0; r < tile.rows; ++r) {
        const float change = memory.maxima[r * memory.blocks + index] - memory.maximum[r];
        factors[r] = exp_flushed<bytes>(Simd<bytes>::all(change))[0] / memory.sum[r];
    }
    const std::int64_t begin = index * attention_block_keys;
    for (std::int64_t j = 0; j < columns; ++j) {
        tile.sums[begin + j] = 0;
    }
    for (std::int64_t r = 0; r < tile.rows; ++r) {
        for (std::int64_t j = 0; j < columns; ++j) {
            tile.sums[begin + j] += p[r * attention_block_keys + j] * factors[r];
        }
    }
    // the diagonal is left out, not subtracted: what remains may be much smaller
    for (std::int64_t j = 0; j < columns; ++j) {
        tile.off_diagonal[begin + j] = tile.sums[begin + j];
    }
    for (std::int64_t r = 0; r < tile.rows; ++r) {
        const std::int64_t own = tile.first + r - begin;
        if (own < 0 || own >= columns) {
            continue;
        }
        float sum = 0;
        for (std::int64_t other = 0; other < tile.rows; ++other) {
            sum += other == r ? 0 : p[other * attention_block_keys + own] * factors[other];
        }
        tile.off_diagonal[begin + own] = sum;
    }
}

template <int bytes> void attend_tile(const AttentionTile& tile)
{
    constexpr auto block = attention_block_keys, panel = RegisterTile<bytes>::floats;
    const std::int64_t keys = tile.first + tile.rows, blocks = (keys + block - 1) / block;
    const bool keeps = tile.sums != nullptr;
    const auto memory = tile_memory<bytes>(tile, keeps ? blocks : 1);
    for (std::int64_t index = 0; index < blocks; ++index) {
        const std::int64_t begin = index * block, count = keys - begin < block ? keys - begin : block;
        const std::int64_t columns = (count + panel - 1) / panel * panel;
        float* p = memory.probabilities + (keeps ? index : 0) * attention_tile_rows * block;
        score_keys<bytes>(tile, begin, columns, p);
        for (std::int64_t r = 0; r < tile.rows; ++r) {
            const std::int64_t seen = tile.first + r + 1 - begin, visible = seen < 0 ? 0 : seen < count ? seen : count;
            exponentiate_row<bytes>(tile, memory, r, visible, columns, p + r * block);
            if (keeps) {
                memory.maxima[r * memory.blocks + index] = memory.maximum[r];
            }
        }
        weigh_values<bytes>(tile, memory, p, begin, count);
    }
    for (std::int64_t r = 0; r < tile.rows; ++r) {
        for (std::int64_t j = 0; j < tile.head_dim; ++j) {
            tile.z[r * tile.z_stride + j] = memory.output[r * tile.padded_dim + j] / memory.sum[r];
        }
    }
    for (std::int64_t index = 0; keeps && index < blocks; ++index) {
        sum_columns<bytes>(tile, memory, index, keys - index * block < block ? keys - index * block : block);
    }
}

template <int bytes> void pack_keys(const float* k, std::int64_t num_keys, std::int64_t head_dim, float* packed)
{
    constexpr auto panel = RegisterTile<bytes>::floats;
    for (std::int64_t first = 0; first < num_keys; first += panel, packed += head_dim * panel) {
        const std::int64_t count = num_keys - first < panel ? num_keys - first : panel;
        for (std::int64_t c = 0; c < head_dim; ++c) {
            for (std::int64_t j = 0; j < panel; ++j) {
                packed[c * panel + j] = j < count ? k[(first + j) * head_dim + c] : 0;
            }
        }
    }
}

} // namespace lava
