#pragma once

#include "compute/cuda/attention_tiles.h"

#include <cmath>

namespace lava::cuda {

/// A row's softmax: its largest score, and the sum of exp(score - maximum).
struct RowStatistics
{
    float* maxima; ///< [splits, num_heads, n]
    float* sums; ///< [splits, num_heads, n]
};

/// Softmax and weighted values of tiles of query rows, over the keys with a running maximum (Dao et al. 2022,
/// FlashAttention). The query heads of a group share a tile, row by row, and so each key that it loads. Where there are
/// too few tiles to fill a GPU, the keys are split among `splits` blocks, whose parts JoinSplits puts together.
template <typename T, typename Product> struct AttendRows
{
    static constexpr int threads = attention_threads;

    AttentionInputs<T> in;
    TileSize tile;
    std::int64_t splits;
    RowStatistics statistics;
    T* z; ///< [n, num_heads, head_dim]; null where only the statistics are wanted
    float* parts; ///< [splits, n, num_heads, head_dim] relative to the split's maxima; unused with one split

    struct Shared
    {
        T* q; // [rows, tile_stride]
        T* kv; // [keys, tile_stride]: keys, then values
        float* scores; // [rows, score_stride]
        T* weights; // [rows, weight_stride]
        float* output; // [rows, output_stride]
        float *maxima, *sums, *factors; // [rows]
        float* scratch; // [threads]
    };

    LAVA_HOST_DEVICE Shared deal(SharedMemory& memory) const
    {
        Shared s;
        s.q = memory.take<T>(tile.rows * in.tile_stride());
        s.kv = memory.take<T>(tile.keys * in.tile_stride());
        s.scores = memory.take<float>(tile.rows * score_stride());
        s.weights = memory.take<T>(tile.rows * weight_stride());
        s.output = memory.take<float>(tile.rows * output_stride());
        s.maxima = memory.take<float>(tile.rows);
        s.sums = memory.take<float>(tile.rows);
        s.factors = memory.take<float>(tile.rows);
        s.scratch = memory.take<float>(threads);
        return s;
    }

    LAVA_HOST_DEVICE std::size_t shared_bytes() const
    {
        SharedMemory memory(nullptr);
        (void)deal(memory);
        return memory.used();
    }

    LAVA_HOST_DEVICE std::int64_t flat_rows() const { return in.n * in.group(); }
    LAVA_HOST_DEVICE std::int64_t row_tiles() const { return ceil_divide(flat_rows(), tile.rows); }
    std::int64_t blocks() const { return splits * row_tiles() * in.num_kv_heads; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        const Shared s = deal(memory);
        const Place place = place_of(block.index());
        start(block, s, place);
        for (std::int64_t key = place.first_key; key < place.end_key; key += tile.keys) {
            score_keys(block, s, place, key);
            weigh_keys(block, s, place, key);
            if (z != nullptr) {
                Product::multiply_add(block, s.weights, weight_stride(), s.kv, in.tile_stride(), tile.keys, s.output,
                    output_stride(), tile.rows, in.padded_dim());
                block.sync();
            }
        }
        finish(block, s, place);
    }

private:
    struct Place
    {
        std::int64_t kv_head, split;
        std::int64_t row; // first of the tile's flat rows: row i of the group's head h is i * group + h
        std::int64_t first_key, end_key; // this split's
    };

    LAVA_HOST_DEVICE int score_stride() const { return tile.keys + 4; }
    LAVA_HOST_DEVICE int weight_stride() const { return tile.keys + static_cast<int>(16 / sizeof(T)); }
    LAVA_HOST_DEVICE int output_stride() const { return in.padded_dim() + 4; }
    LAVA_DEVICE std::int64_t query_of(std::int64_t flat) const { return flat / in.group(); }
    LAVA_DEVICE std::int64_t head_of(const Place& place, std::int64_t flat) const
    {
        return place.kv_head * in.group() + flat % in.group();
    }
    LAVA_DEVICE bool exists(const Place& place, int row) const { return place.row + row < flat_rows(); }

    LAVA_DEVICE Place place_of(std::int64_t index) const
    {
        Place place;
        place.kv_head = index % in.num_kv_heads;
        index /= in.num_kv_heads;
        place.row = (row_tiles() - 1 - index % row_tiles()) * tile.rows; // the last ones, which see most, first
        place.split = index / row_tiles();
        const std::int64_t last = smaller(place.row + tile.rows, flat_rows()) - 1;
        const std::int64_t first_key = in.first_key(query_of(place.row)), end_key = in.end_key(query_of(last));
        const std::int64_t each = ceil_divide(ceil_divide(end_key - first_key, tile.keys), splits) * tile.keys;
        place.first_key = smaller(first_key + place.split * each, end_key);
        place.end_key = smaller(place.first_key + each, end_key);
        return place;
    }

    template <typename Block> LAVA_DEVICE void start(const Block& block, const Shared& s, const Place& place) const
    {
        load_rows(block, in, tile.rows, s.q, [&](int row) -> const T* {
            const std::int64_t flat = place.row + row;
            return exists(place, row) ? in.q + head_of(place, flat) * in.q_stride + query_of(flat) * in.head_dim
                                      : nullptr;
        });
        for (int row = block.thread(); row < tile.rows; row += threads) {
            s.maxima[row] = lowest_score;
            s.sums[row] = 0;
        }
        for (int i = block.thread(); i < tile.rows * output_stride(); i += threads) {
            s.output[i] = 0;
        }
    }

    template <typename Block>
    LAVA_DEVICE void load_keys(const Block& block, const Shared& s, const Place& place, std::int64_t key, const T* from,
        std::int64_t stride) const
    {
        load_rows(block, in, tile.keys, s.kv, [&](int row) -> const T* {
            return key + row < place.end_key ? from + place.kv_head * stride + (key + row) * in.head_dim : nullptr;
        });
    }

    /// Scores of a tile of keys, and the new maxima.
    template <typename Block>
    LAVA_DEVICE void score_keys(const Block& block, const Shared& s, const Place& place, std::int64_t key) const
    {
        load_keys(block, s, place, key, in.k, in.k_stride);
        block.sync();
        Product::multiply_transposed(block, s.q, in.tile_stride(), s.kv, in.tile_stride(), in.padded_dim(), s.scores,
            score_stride(), tile.rows, tile.keys);
        block.sync();
        const int parts_of_row = threads / tile.rows;
        const int row = block.thread() / parts_of_row, part = block.thread() % parts_of_row;
        float largest = lowest_score;
        for (int column = part; column < tile.keys; column += parts_of_row) {
            if (is_seen(place, row, key + column)) {
                largest = fmaxf(largest, s.scores[row * score_stride() + column] * in.scale);
            }
        }
        s.scratch[block.thread()] = largest;
        block.sync();
        if (part == 0) {
            for (int i = 0; i < parts_of_row; ++i) {
                largest = fmaxf(largest, s.scratch[block.thread() + i]);
            }
            const float before = s.maxima[row];
            s.maxima[row] = fmaxf(before, largest);
            s.factors[row] = expf(before - s.maxima[row]);
        }
        block.sync();
    }

    /// Scores become weights relative to the new maxima, to which what was summed before is scaled; values are loaded.
    template <typename Block>
    LAVA_DEVICE void weigh_keys(const Block& block, const Shared& s, const Place& place, std::int64_t key) const
    {
        const int parts_of_row = threads / tile.rows;
        const int row = block.thread() / parts_of_row, part = block.thread() % parts_of_row;
        float sum = 0;
        for (int column = part; column < tile.keys; column += parts_of_row) {
            const float score = s.scores[row * score_stride() + column] * in.scale;
            const float weight = is_seen(place, row, key + column) ? expf(score - s.maxima[row]) : 0;
            s.weights[row * weight_stride() + column] = T(weight);
            sum += weight;
        }
        s.scratch[block.thread()] = sum;
        if (z != nullptr) {
            for (int column = part; column < in.padded_dim(); column += parts_of_row) {
                s.output[row * output_stride() + column] *= s.factors[row];
            }
            load_keys(block, s, place, key, in.v, in.v_stride);
        }
        block.sync();
        if (part == 0) {
            float of_row = s.sums[row] * s.factors[row];
            for (int i = 0; i < parts_of_row; ++i) {
                of_row += s.scratch[block.thread() + i];
            }
            s.sums[row] = of_row;
        }
    }

    LAVA_DEVICE bool is_seen(const Place& place, int row, std::int64_t key) const
    {
        return key < place.end_key && in.sees(query_of(place.row + row), key);
    }

    template <typename Block> LAVA_DEVICE void finish(const Block& block, const Shared& s, const Place& place) const
    {
        block.sync();
        for (int row = block.thread(); row < tile.rows; row += threads) {
            if (exists(place, row)) {
                const std::int64_t flat = place.row + row;
                const std::int64_t at = (place.split * in.num_heads + head_of(place, flat)) * in.n + query_of(flat);
                statistics.maxima[at] = s.maxima[row];
                statistics.sums[at] = s.sums[row];
            }
        }
        if (z == nullptr) {
            return;
        }
        const int dim = static_cast<int>(in.head_dim);
        for (int i = block.thread(); i < tile.rows * dim; i += threads) {
            const int row = i / dim, column = i % dim;
            if (!exists(place, row)) {
                continue;
            }
            const std::int64_t flat = place.row + row;
            const std::int64_t at = (query_of(flat) * in.num_heads + head_of(place, flat)) * in.head_dim + column;
            const float sum = s.output[row * output_stride() + column];
            if (splits == 1) {
                z[at] = T(sum / s.sums[row]);
            } else {
                parts[place.split * in.n * in.num_heads * in.head_dim + at] = sum;
            }
        }
    }
};

/// Puts the splits of each row together, in their order: one block for each query row of each head.
template <typename T> struct JoinSplits
{
    static constexpr int threads = 64;

    std::int64_t splits, num_heads, n, head_dim;
    RowStatistics of_splits; ///< [splits, num_heads, n]
    const float* parts; ///< [splits, n, num_heads, head_dim]
    RowStatistics joined; ///< [num_heads, n]
    T* z; ///< [n, num_heads, head_dim]; null: not wanted

    std::int64_t blocks() const { return num_heads * n; }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t head = block.index() % num_heads, row = block.index() / num_heads;
        const std::int64_t at = head * n + row;
        float maximum = lowest_score;
        for (std::int64_t split = 0; split < splits; ++split) {
            maximum = fmaxf(maximum, of_splits.maxima[split * num_heads * n + at]);
        }
        float sum = 0;
        for (std::int64_t split = 0; split < splits; ++split) {
            sum += of_splits.sums[split * num_heads * n + at] * factor(split, at, maximum);
        }
        if (block.thread() == 0) {
            joined.maxima[at] = maximum;
            joined.sums[at] = sum;
        }
        for (std::int64_t i = block.thread(); z != nullptr && i < head_dim; i += threads) {
            float output = 0;
            for (std::int64_t split = 0; split < splits; ++split) {
                const std::int64_t place = ((split * n + row) * num_heads + head) * head_dim + i;
                output += parts[place] * factor(split, at, maximum);
            }
            z[(row * num_heads + head) * head_dim + i] = T(output / sum);
        }
    }

private:
    LAVA_DEVICE float factor(std::int64_t split, std::int64_t at, float maximum) const
    {
        return expf(of_splits.maxima[split * num_heads * n + at] - maximum);
    }
};

} // namespace lava::cuda
