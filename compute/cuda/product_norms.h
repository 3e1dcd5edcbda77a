#pragma once

#include "compute/cuda/cuts.h"

#include <cmath>

namespace lava::cuda {

/// Norms of (o - ô) W_O, of all heads together, per set of cuts and step: tiles of the product, which is never stored.
/// Row set * T + step is put together from the differences of each KV head at that set's cut.
struct ProductNorms
{
    static constexpr int threads = 256;
    static constexpr int tile = 128; ///< rows, and columns, of a block
    static constexpr int depth = 8; ///< of the factors in shared memory at a time

    Sizes sizes;
    std::int64_t sets, most_cuts;
    const std::int32_t* cut_of; ///< [sets, num_kv_heads]
    const float* differences; ///< [num_kv_heads, most_cuts, columns, head_dim]
    const float* w_o; ///< [hidden_size, num_heads * head_dim]
    double *magnitudes, *squares; ///< [column tiles, rows] sums over the tile's columns

    LAVA_HOST_DEVICE std::int64_t rows() const { return sets * sizes.steps; }
    LAVA_HOST_DEVICE std::int64_t inner() const { return sizes.num_heads * sizes.head_dim; }
    LAVA_HOST_DEVICE std::int64_t row_tiles() const { return ceil_divide(rows(), tile); }
    LAVA_HOST_DEVICE std::int64_t column_tiles() const { return ceil_divide(sizes.hidden_size, tile); }
    std::int64_t blocks() const { return row_tiles() * column_tiles(); }
    static constexpr std::size_t shared_bytes()
    {
        constexpr std::size_t factors = 2 * depth * stride * sizeof(float), sums = 2 * tile * side * sizeof(double);
        return factors > sums ? factors : sums; // one after the other
    }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        auto* const left = reinterpret_cast<float*>(block.shared()); // [depth, stride]
        float* const right = left + depth * stride; // [depth, stride]
        const std::int64_t row = block.index() % row_tiles() * tile, column = block.index() / row_tiles() * tile;
        float product[each][each] = {};
        for (std::int64_t k = 0; k < inner(); k += depth) {
            load(block, row, column, k, left, right);
            block.sync();
            multiply(block, left, right, product);
            block.sync();
        }
        add_norms(block, row, column, product);
    }

private:
    static constexpr int side = 16; // threads stand in a square, each computes every 16th row and column
    static constexpr int each = tile / side;
    static constexpr int stride = tile + 4;

    template <typename Block>
    LAVA_DEVICE void load(
        const Block& block, std::int64_t row, std::int64_t column, std::int64_t k, float* left, float* right) const
    {
        for (int i = block.thread(); i < tile * depth; i += threads) {
            const int line = i / depth, step = i % depth;
            const bool is_inside = k + step < inner();
            left[step * stride + line] = is_inside && row + line < rows() ? difference(row + line, k + step) : 0;
            right[step * stride + line]
                = is_inside && column + line < sizes.hidden_size ? w_o[(column + line) * inner() + k + step] : 0;
        }
    }

    LAVA_DEVICE float difference(std::int64_t row, std::int64_t k) const
    {
        const std::int64_t set = row / sizes.steps, step = row % sizes.steps;
        const std::int64_t head = k / sizes.head_dim, kv_head = head / sizes.group();
        const std::int64_t column = head % sizes.group() * sizes.steps + step;
        const std::int64_t cut = cut_of[set * sizes.num_kv_heads + kv_head];
        const std::int64_t at = (kv_head * most_cuts + cut) * sizes.columns() + column;
        return differences[at * sizes.head_dim + k % sizes.head_dim];
    }

    template <typename Block>
    LAVA_DEVICE static void multiply(
        const Block& block, const float* left, const float* right, float (&product)[each][each])
    {
        const int row = block.thread() / side, column = block.thread() % side;
        for (int k = 0; k < depth; ++k) {
            float a[each], b[each];
            for (int i = 0; i < each; ++i) {
                a[i] = left[k * stride + row + i * side];
                b[i] = right[k * stride + column + i * side];
            }
            for (int i = 0; i < each; ++i) {
                for (int j = 0; j < each; ++j) {
                    product[i][j] += a[i] * b[j];
                }
            }
        }
    }

    template <typename Block>
    LAVA_DEVICE void add_norms(
        const Block& block, std::int64_t first_row, std::int64_t column, const float (&product)[each][each]) const
    {
        auto* const of_threads = reinterpret_cast<double*>(block.shared()); // [2, tile, side]
        const int row = block.thread() / side, place = block.thread() % side;
        for (int i = 0; i < each; ++i) {
            double magnitude = 0, square = 0; // in double: squares of small differences leave fp32's range
            for (int j = 0; j < each; ++j) {
                const auto x = static_cast<double>(product[i][j]);
                magnitude += fabs(x);
                square += x * x;
            }
            of_threads[(row + i * side) * side + place] = magnitude;
            of_threads[(tile + row + i * side) * side + place] = square;
        }
        block.sync();
        const int line = block.thread() % tile;
        if (first_row + line >= rows()) {
            return;
        }
        const bool is_square = block.thread() >= tile;
        double sum = 0;
        for (int i = 0; i < side; ++i) {
            sum += of_threads[((is_square ? tile : 0) + line) * side + i];
        }
        (is_square ? squares : magnitudes)[column / tile * rows() + first_row + line] = sum;
    }
};

/// The tiles' sums of each row: one thread for each.
struct RowNorms
{
    static constexpr int threads = 64;

    std::int64_t rows, tiles;
    const double *magnitudes, *squares; ///< [tiles, rows]
    double *l1, *l2; ///< [rows]

    std::int64_t blocks() const { return ceil_divide(rows, threads); }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t row = block.index() * threads + block.thread();
        if (row >= rows) {
            return;
        }
        double magnitude = 0, square = 0;
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
            magnitude += magnitudes[tile * rows + row];
            square += squares[tile * rows + row];
        }
        l1[row] = magnitude;
        l2[row] = sqrt(square);
    }
};

} // namespace lava::cuda
