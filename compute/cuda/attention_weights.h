#pragma once

// Attention of the evaluation steps to one layer's entries: logits and exponentials, in double, as on the CPU
// (compute/cpu/kernels/attention_weights.h): an error here would be in every loss.

#include "compute/cuda/sizes.h"

#include <cmath>

namespace lava::cuda {

/// Logits of tiles of entries, and each tile's largest of every column.
struct EntryLogits
{
    static constexpr int threads = 256;
    static constexpr int side = 16; ///< entries, and columns at a time, of a tile

    Sizes sizes;
    const float* keys; ///< [num_kv_heads, entries, head_dim]
    const float* queries; ///< [num_kv_heads, columns, head_dim]
    double* logits; ///< [num_kv_heads, entries, columns], -infinity where the step does not see the entry
    double* tile_maxima; ///< [num_kv_heads, tiles, columns]

    LAVA_HOST_DEVICE std::int64_t tiles() const { return ceil_divide(sizes.entries(), side); }
    std::int64_t blocks() const { return tiles() * sizes.num_kv_heads; }
    std::size_t shared_bytes() const
    {
        SharedMemory memory(nullptr);
        (void)deal(memory);
        return memory.used();
    }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        const Shared s = deal(memory);
        const std::int64_t head = block.index() / tiles(), tile = block.index() % tiles();
        const std::int64_t first = tile * side, columns = sizes.columns();
        load(block, keys + (head * sizes.entries() + first) * sizes.head_dim, sizes.entries() - first, s.keys);
        const int row = block.thread() / side, column = block.thread() % side;
        for (std::int64_t begin = 0; begin < columns; begin += side) {
            load(block, queries + (head * columns + begin) * sizes.head_dim, columns - begin, s.queries);
            block.sync();
            const double logit = logit_of(s, first + row, row, begin + column, column);
            s.logits[block.thread()] = logit;
            if (first + row < sizes.entries() && begin + column < columns) {
                logits[(head * sizes.entries() + first + row) * columns + begin + column] = logit;
            }
            block.sync();
            if (row == 0 && begin + column < columns) {
                tile_maxima[(head * tiles() + tile) * columns + begin + column] = largest_of_column(s.logits, column);
            }
        }
    }

private:
    struct Shared
    {
        float* keys; // [side, head_dim + 1]
        float* queries; // [side, head_dim + 1]
        double* logits; // [side, side]
    };

    LAVA_HOST_DEVICE std::int64_t stride() const { return sizes.head_dim + 1; }

    LAVA_HOST_DEVICE Shared deal(SharedMemory& memory) const
    {
        Shared s;
        s.keys = memory.take<float>(side * stride());
        s.queries = memory.take<float>(side * stride());
        s.logits = memory.take<double>(side * side);
        return s;
    }

    template <typename Block>
    LAVA_DEVICE void load(const Block& block, const float* rows, std::int64_t count, float* to) const
    {
        for (std::int64_t i = block.thread(); i < side * sizes.head_dim; i += threads) {
            const std::int64_t row = i / sizes.head_dim;
            to[row * stride() + i % sizes.head_dim] = row < count ? rows[i] : 0;
        }
    }

    LAVA_DEVICE double logit_of(
        const Shared& s, std::int64_t entry, int row, std::int64_t column_index, int column) const
    {
        if (entry >= sizes.entries() || !sizes.sees(column_index % sizes.steps, entry)) {
            return -INFINITY;
        }
        double sum = 0;
        for (std::int64_t i = 0; i < sizes.head_dim; ++i) {
            sum += static_cast<double>(s.keys[row * stride() + i])
                * static_cast<double>(s.queries[column * stride() + i]);
        }
        return sum / sqrt(static_cast<double>(sizes.head_dim));
    }

    LAVA_DEVICE static double largest_of_column(const double* logits, int column)
    {
        double largest = logits[column];
        for (int row = 1; row < side; ++row) {
            largest = fmax(largest, logits[row * side + column]);
        }
        return largest;
    }
};

/// The largest logit of each column: one thread for each.
struct ColumnMaxima
{
    static constexpr int threads = 64;

    std::int64_t num_kv_heads, tiles, columns;
    const double* tile_maxima; ///< [num_kv_heads, tiles, columns]
    double* maxima; ///< [num_kv_heads, columns]

    std::int64_t blocks() const { return ceil_divide(num_kv_heads * columns, threads); }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t at = block.index() * threads + block.thread();
        if (at >= num_kv_heads * columns) {
            return;
        }
        const double* const of_head = tile_maxima + at / columns * tiles * columns + at % columns;
        double largest = of_head[0];
        for (std::int64_t tile = 1; tile < tiles; ++tile) {
            largest = fmax(largest, of_head[tile * columns]);
        }
        maxima[at] = largest;
    }
};

/// weights = exp(logit - maximum of the column), 0 where the step does not see the entry.
struct EntryWeights
{
    static constexpr int threads = 256;

    Sizes sizes;
    const double* logits; ///< [num_kv_heads, entries, columns]
    const double* maxima; ///< [num_kv_heads, columns]
    float* weights; ///< laid out as the logits

    LAVA_HOST_DEVICE std::int64_t count() const { return sizes.num_kv_heads * sizes.entries() * sizes.columns(); }
    std::int64_t blocks() const { return ceil_divide(count(), threads); }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t at = block.index() * threads + block.thread();
        if (at >= count()) {
            return;
        }
        const std::int64_t head = at / (sizes.entries() * sizes.columns()), column = at % sizes.columns();
        weights[at] = static_cast<float>(exp(logits[at] - maxima[head * sizes.columns() + column]));
    }
};

} // namespace lava::cuda
