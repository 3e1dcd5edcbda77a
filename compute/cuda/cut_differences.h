#pragma once

// What evicting does to each KV head's outputs, at every cut: o - ô = (e - (m / s) k) / (m + s), with e and k the sums
// of weighted values over evicted and kept, m and s their masses. Evicted sums grow from the last segment up, kept ones
// from the first: no two outputs are subtracted.

#include "compute/cuda/cuts.h"

#include <cmath>

namespace lava::cuda {

/// Masses that are kept and evicted at each cut: one thread for each column of a head.
struct CutMasses
{
    static constexpr int threads = 64;

    Sizes sizes;
    CutTables tables;
    const double* masses; ///< [pieces, columns]
    double* kept; ///< [num_kv_heads, most_cuts, columns]
    double* evicted; ///< the same

    std::int64_t blocks() const { return ceil_divide(sizes.num_kv_heads * sizes.columns(), threads); }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t at = block.index() * threads + block.thread(), columns = sizes.columns();
        if (at >= sizes.num_kv_heads * columns) {
            return;
        }
        const std::int64_t head = at / columns, column = at % columns, cuts = tables.cuts[head];
        const std::int64_t* const first = tables.first_pieces(head);
        const auto place = [&](std::int64_t cut) { return (head * tables.most_cuts + cut) * columns + column; };
        double sum = 0;
        for (std::int64_t cut = 0; cut < cuts; ++cut) {
            sum += segment_mass(first, cut, column);
            kept[place(cut)] = sum;
        }
        sum = 0;
        for (std::int64_t cut = cuts; cut-- > 0;) {
            sum += segment_mass(first, cut + 1, column);
            evicted[place(cut)] = sum;
        }
    }

private:
    LAVA_DEVICE double segment_mass(const std::int64_t* first, std::int64_t segment, std::int64_t column) const
    {
        double sum = 0;
        for (std::int64_t piece = first[segment]; piece < first[segment + 1]; ++piece) {
            sum += masses[piece * sizes.columns() + column];
        }
        return sum;
    }
};

/// What the kernels of differences share.
struct CutSums
{
    Sizes sizes;
    CutTables tables;
    const float* sums; ///< [pieces, columns, head_dim]
    const double* kept_mass; ///< [num_kv_heads, most_cuts, columns]
    const double* evicted_mass; ///< the same
    double* kept; ///< [num_kv_heads, most_cuts, columns, head_dim] sums over the kept
    float* differences; ///< [num_kv_heads, most_cuts, columns, head_dim]

    LAVA_HOST_DEVICE std::int64_t place(std::int64_t head, std::int64_t cut, std::int64_t column) const
    {
        return (head * tables.most_cuts + cut) * sizes.columns() + column;
    }

    LAVA_DEVICE double segment_sum(std::int64_t head, std::int64_t segment, std::int64_t column, std::int64_t dim) const
    {
        const std::int64_t* const first = tables.first_pieces(head);
        double sum = 0;
        for (std::int64_t piece = first[segment]; piece < first[segment + 1]; ++piece) {
            sum += static_cast<double>(sums[(piece * sizes.columns() + column) * sizes.head_dim + dim]);
        }
        return sum;
    }

    /// Below this kept mass, weights relative to the column's maximum have lost precision in fp32.
    static constexpr double vanishing = 1e-25;
    LAVA_DEVICE bool vanishes(std::int64_t at) const { return kept_mass[at] < vanishing; }

    /// kept_output: of the kept entries alone.
    LAVA_DEVICE float difference(std::int64_t at, double evicted, double kept_output) const
    {
        return static_cast<float>((evicted - evicted_mass[at] * kept_output) / (evicted_mass[at] + kept_mass[at]));
    }
};

/// Differences at every cut: one thread for each number of each column of a head.
struct CutDifferences
{
    static constexpr int threads = 64;

    CutSums data;

    LAVA_HOST_DEVICE std::int64_t dim_tiles() const { return ceil_divide(data.sizes.head_dim, threads); }
    std::int64_t blocks() const { return data.sizes.num_kv_heads * data.sizes.columns() * dim_tiles(); }
    static constexpr std::size_t shared_bytes() { return 0; }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const Sizes& sizes = data.sizes;
        const std::int64_t dim = block.index() % dim_tiles() * threads + block.thread();
        const std::int64_t column = block.index() / dim_tiles() % sizes.columns();
        const std::int64_t head = block.index() / dim_tiles() / sizes.columns();
        if (dim >= sizes.head_dim) {
            return;
        }
        const std::int64_t cuts = data.tables.cuts[head];
        double sum = 0;
        for (std::int64_t cut = 0; cut < cuts; ++cut) {
            sum += data.segment_sum(head, cut, column, dim);
            data.kept[data.place(head, cut, column) * sizes.head_dim + dim] = sum;
        }
        sum = 0;
        for (std::int64_t cut = cuts; cut-- > 0;) {
            sum += data.segment_sum(head, cut + 1, column, dim);
            const std::int64_t at = data.place(head, cut, column);
            const double kept_output = data.kept[at * sizes.head_dim + dim] / data.kept_mass[at];
            data.differences[at * sizes.head_dim + dim] = data.vanishes(at) ? 0 : data.difference(at, sum, kept_output);
        }
    }
};

/// The differences where the kept entries' weights vanish in fp32 beside the column's maximum: anew from the logits,
/// with a maximum of their own. One block for each column at each cut, most of which have nothing to do.
struct VanishingDifferences
{
    static constexpr int threads = 128;

    CutSums data;
    const double* logits; ///< [num_kv_heads, entries, columns]
    const float* values; ///< [num_kv_heads, entries, head_dim]
    const std::uint32_t* order; ///< [num_kv_heads, entries]

    std::int64_t blocks() const { return data.sizes.num_kv_heads * data.tables.most_cuts * data.sizes.columns(); }
    static constexpr std::size_t shared_bytes() { return threads * sizeof(double); }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        const std::int64_t column = block.index() % data.sizes.columns();
        const std::int64_t cut = block.index() / data.sizes.columns() % data.tables.most_cuts;
        const std::int64_t head = block.index() / data.sizes.columns() / data.tables.most_cuts;
        if (cut >= data.tables.cuts[head] || !data.vanishes(block.index())) {
            return;
        }
        double* const scratch = SharedMemory(block.shared()).template take<double>(threads);
        const std::int64_t kept = data.tables.ends[head * (data.tables.most_cuts + 1) + cut];
        double largest = -INFINITY;
        for (std::int64_t i = block.thread(); i < kept; i += threads) {
            largest = fmax(largest, logit(head, i, column));
        }
        largest = largest_of_block<threads>(block, largest, scratch);
        for (std::int64_t first = 0; first < data.sizes.head_dim; first += threads) {
            const std::int64_t dim = first + block.thread();
            const double output = kept_output(block, head, column, kept, largest, dim, scratch);
            if (dim < data.sizes.head_dim) {
                data.differences[block.index() * data.sizes.head_dim + dim]
                    = data.difference(block.index(), evicted_sum(head, cut, column, dim), output);
            }
        }
    }

private:
    LAVA_DEVICE std::int64_t entry(std::int64_t head, std::int64_t place) const
    {
        return head * data.sizes.entries() + order[head * data.sizes.entries() + place];
    }

    LAVA_DEVICE double logit(std::int64_t head, std::int64_t place, std::int64_t column) const
    {
        return logits[entry(head, place) * data.sizes.columns() + column];
    }

    template <typename Block>
    LAVA_DEVICE double kept_output(const Block& block, std::int64_t head, std::int64_t column, std::int64_t kept,
        double largest, std::int64_t dim, double* scratch) const
    {
        double sum = 0, mass = 0;
        for (std::int64_t begin = 0; begin < kept; begin += threads) {
            const std::int64_t mine = begin + block.thread();
            scratch[block.thread()] = mine < kept ? exp(logit(head, mine, column) - largest) : 0;
            block.sync();
            for (std::int64_t i = begin; i < smaller(begin + threads, kept); ++i) {
                mass += scratch[i - begin];
                if (dim < data.sizes.head_dim) {
                    sum += scratch[i - begin] * static_cast<double>(values[entry(head, i) * data.sizes.head_dim + dim]);
                }
            }
            block.sync();
        }
        return sum / mass;
    }

    LAVA_DEVICE double evicted_sum(std::int64_t head, std::int64_t cut, std::int64_t column, std::int64_t dim) const
    {
        double sum = 0;
        for (std::int64_t segment = data.tables.cuts[head]; segment > cut; --segment) {
            sum += data.segment_sum(head, segment, column, dim);
        }
        return sum;
    }
};

/// ||o - ô|| of each column at each cut: one block for each.
struct DifferenceNorms
{
    static constexpr int threads = 64;

    std::int64_t rows, head_dim;
    const float* differences; ///< [rows, head_dim]
    double *l1, *l2; ///< [rows]

    std::int64_t blocks() const { return rows; }
    static constexpr std::size_t shared_bytes() { return threads * sizeof(double); }

    template <typename Block> LAVA_DEVICE void operator()(const Block& block) const
    {
        double* const scratch = SharedMemory(block.shared()).template take<double>(threads);
        double magnitudes = 0, squares = 0;
        for (std::int64_t i = block.thread(); i < head_dim; i += threads) {
            const auto x = static_cast<double>(differences[block.index() * head_dim + i]);
            magnitudes += fabs(x);
            squares += x * x;
        }
        magnitudes = sum_of_block<threads>(block, magnitudes, scratch);
        squares = sum_of_block<threads>(block, squares, scratch);
        if (block.thread() == 0) {
            l1[block.index()] = magnitudes;
            l2[block.index()] = sqrt(squares);
        }
    }
};

} // namespace lava::cuda
