#pragma once

#include "compute/cuda/cuts.h"

namespace lava::cuda {

/// Sums of weights times values, and of weights, over the entries of each piece, gathered in the order: a block takes a
/// tile of columns and numbers of a piece.
struct PieceSums
{
    static constexpr int threads = 256;
    static constexpr int tile_columns = 32, tile_dims = 64; ///< of a block
    static constexpr int batch = 32; ///< entries in shared memory at a time

    Sizes sizes;
    std::int64_t num_pieces;
    const Piece* pieces;
    const std::uint32_t* order; ///< [num_kv_heads, entries]
    const float* weights; ///< [num_kv_heads, entries, columns]
    const float* values; ///< [num_kv_heads, entries, head_dim]
    float* sums; ///< [pieces, columns, head_dim]
    double* masses; ///< [pieces, columns]

    LAVA_HOST_DEVICE std::int64_t column_tiles() const { return ceil_divide(sizes.columns(), tile_columns); }
    LAVA_HOST_DEVICE std::int64_t dim_tiles() const { return ceil_divide(sizes.head_dim, tile_dims); }
    std::int64_t blocks() const { return num_pieces * column_tiles() * dim_tiles(); }
    static constexpr std::size_t shared_bytes() { return batch * (tile_columns + tile_dims) * sizeof(float); }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        const Shared s{memory.take<float>(batch * tile_columns), memory.take<float>(batch * tile_dims)};
        const std::int64_t dim = block.index() % dim_tiles() * tile_dims;
        const std::int64_t rest = block.index() / dim_tiles();
        const std::int64_t column = rest % column_tiles() * tile_columns, index = rest / column_tiles();
        const Piece piece = pieces[index];
        float sum[column_steps][dim_steps] = {};
        double mass = 0;
        for (std::int64_t begin = piece.begin; begin < piece.end; begin += batch) {
            const int count = static_cast<int>(smaller(batch, piece.end - begin));
            load(block, s, piece.head, begin, count, column, dim);
            block.sync();
            add(block, s, count, sum);
            if (dim == 0 && block.thread() < tile_columns) {
                for (int i = 0; i < count; ++i) {
                    mass += static_cast<double>(s.weights[i * tile_columns + block.thread()]);
                }
            }
            block.sync();
        }
        store(block, index, column, dim, sum);
        if (dim == 0 && block.thread() < tile_columns && column + block.thread() < sizes.columns()) {
            masses[index * sizes.columns() + column + block.thread()] = mass;
        }
    }

private:
    static constexpr int side = 16; // threads stand in a square
    static constexpr int column_steps = tile_columns / side, dim_steps = tile_dims / side;

    struct Shared
    {
        float* weights; // [batch, tile_columns]
        float* values; // [batch, tile_dims]
    };

    template <typename Block>
    LAVA_DEVICE void load(const Block& block, const Shared& s, std::int64_t head, std::int64_t begin, int count,
        std::int64_t column, std::int64_t dim) const
    {
        const std::uint32_t* const rows = order + head * sizes.entries() + begin;
        for (int i = block.thread(); i < count * tile_columns; i += threads) {
            const std::int64_t entry = head * sizes.entries() + rows[i / tile_columns], at = column + i % tile_columns;
            s.weights[i] = at < sizes.columns() ? weights[entry * sizes.columns() + at] : 0;
        }
        for (int i = block.thread(); i < count * tile_dims; i += threads) {
            const std::int64_t entry = head * sizes.entries() + rows[i / tile_dims], at = dim + i % tile_dims;
            s.values[i] = at < sizes.head_dim ? values[entry * sizes.head_dim + at] : 0;
        }
    }

    template <typename Block>
    LAVA_DEVICE void add(const Block& block, const Shared& s, int count, float (&sum)[column_steps][dim_steps]) const
    {
        const int row = block.thread() / side, place = block.thread() % side;
        for (int i = 0; i < count; ++i) {
            for (int c = 0; c < column_steps; ++c) {
                for (int d = 0; d < dim_steps; ++d) {
                    sum[c][d]
                        += s.weights[i * tile_columns + row + c * side] * s.values[i * tile_dims + place + d * side];
                }
            }
        }
    }

    template <typename Block>
    LAVA_DEVICE void store(const Block& block, std::int64_t piece, std::int64_t column, std::int64_t dim,
        const float (&sum)[column_steps][dim_steps]) const
    {
        for (int c = 0; c < column_steps; ++c) {
            for (int d = 0; d < dim_steps; ++d) {
                const std::int64_t at_column = column + block.thread() / side + c * side;
                const std::int64_t at_dim = dim + block.thread() % side + d * side;
                if (at_column < sizes.columns() && at_dim < sizes.head_dim) {
                    sums[(piece * sizes.columns() + at_column) * sizes.head_dim + at_dim] = sum[c][d];
                }
            }
        }
    }
};

} // namespace lava::cuda
