#pragma once

#include "compute/cuda/attend_rows.h"

namespace lava::cuda {

/// Column sums of the attention probabilities: a block holds a tile of keys of one query head and lets all rows that
/// see them pass by, whose softmax is known already. Scores are formed again as AttendRows formed them; nothing of
/// size n x N is stored, and no two blocks add to the same number.
template <typename T, typename Product> struct SumColumns
{
    static constexpr int threads = attention_threads;

    AttentionInputs<T> in;
    TileSize tile;
    RowStatistics statistics; ///< [num_heads, n]
    float divisor; ///< of the sums
    float* sums; ///< [num_heads, num_keys]
    float* off_diagonal; ///< column sums without each query's own key; null: not wanted

    struct Shared
    {
        T* q; // [rows, tile_stride]
        T* keys; // [keys, tile_stride]
        float* scores; // [rows, score_stride]
        double* scratch; // [threads]
    };

    LAVA_HOST_DEVICE Shared deal(SharedMemory& memory) const
    {
        Shared s;
        s.q = memory.take<T>(tile.rows * in.tile_stride());
        s.keys = memory.take<T>(tile.keys * in.tile_stride());
        s.scores = memory.take<float>(tile.rows * score_stride());
        s.scratch = memory.take<double>(threads);
        return s;
    }

    LAVA_HOST_DEVICE std::size_t shared_bytes() const
    {
        SharedMemory memory(nullptr);
        (void)deal(memory);
        return memory.used();
    }

    std::int64_t blocks() const { return ceil_divide(in.num_keys, tile.keys) * in.num_heads; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        const Shared s = deal(memory);
        const std::int64_t head = block.index() % in.num_heads, first_key = block.index() / in.num_heads * tile.keys;
        const std::int64_t last_key = smaller(first_key + tile.keys, in.num_keys) - 1;
        const T* const k = in.k + head / in.group() * in.k_stride;
        load_rows(block, in, tile.keys, s.keys, [&](int row) -> const T* {
            return first_key + row <= last_key ? k + (first_key + row) * in.head_dim : nullptr;
        });
        // rows that see any of these keys
        const std::int64_t begin = larger(0, first_key - in.past());
        const std::int64_t end = in.window == 0 ? in.n : smaller(in.n, last_key + in.window - in.past());
        Sums of_column;
        for (std::int64_t row = begin; row < end; row += tile.rows) {
            score_rows(block, s, head, row);
            add_rows(block, s, head, row, first_key, of_column);
        }
        store(block, s, of_column.all, sums + head * in.num_keys, first_key, last_key);
        if (off_diagonal != nullptr) {
            store(block, s, of_column.others, off_diagonal + head * in.num_keys, first_key, last_key);
        }
    }

private:
    struct Sums // sums of one column over every `parts`-th row; rows in fp32, tiles in double
    {
        double all = 0;
        double others = 0; // the diagonal is left out, not subtracted: what remains may be much smaller
    };

    LAVA_HOST_DEVICE int score_stride() const { return tile.keys + 4; }

    template <typename Block>
    LAVA_DEVICE void score_rows(const Block& block, const Shared& s, std::int64_t head, std::int64_t row) const
    {
        load_rows(block, in, tile.rows, s.q, [&](int i) -> const T* {
            return row + i < in.n ? in.q + head * in.q_stride + (row + i) * in.head_dim : nullptr;
        });
        block.sync();
        Product::multiply_transposed(block, s.q, in.tile_stride(), s.keys, in.tile_stride(), in.padded_dim(), s.scores,
            score_stride(), tile.rows, tile.keys);
        block.sync();
    }

    template <typename Block>
    LAVA_DEVICE void add_rows(const Block& block, const Shared& s, std::int64_t head, std::int64_t row,
        std::int64_t first_key, Sums& of_column) const
    {
        const int column = block.thread() % tile.keys, part = block.thread() / tile.keys, parts = threads / tile.keys;
        const std::int64_t key = first_key + column;
        float all = 0, others = 0;
        for (int i = part; i < tile.rows; i += parts) {
            if (row + i >= in.n || !in.sees(row + i, key)) {
                continue;
            }
            const std::int64_t at = head * in.n + row + i;
            const float distance = s.scores[i * score_stride() + column] * in.scale - statistics.maxima[at];
            const float probability = expf(distance) / statistics.sums[at];
            all += probability;
            others += key == in.past() + row + i ? 0 : probability;
        }
        of_column.all += static_cast<double>(all);
        of_column.others += static_cast<double>(others);
    }

    template <typename Block>
    LAVA_DEVICE void store(
        const Block& block, const Shared& s, double sum, float* to, std::int64_t first_key, std::int64_t last_key) const
    {
        block.sync();
        s.scratch[block.thread()] = sum;
        block.sync();
        const int column = block.thread();
        if (column < tile.keys && first_key + column <= last_key) {
            double total = 0;
            for (int part = column; part < threads; part += tile.keys) {
                total += s.scratch[part];
            }
            to[first_key + column] = static_cast<float>(total / static_cast<double>(divisor));
        }
    }
};

} // namespace lava::cuda
