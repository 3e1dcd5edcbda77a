#pragma once

// The inner loops of the replay, by instruction set. They take raw pointers and know neither LibTorch nor layers.
// Lengths called `dim` are multiples of lane_multiple, padded with zeros.

#include <cstdint>
#include <span>

namespace lava {

/// Floats in the widest vector: rows are padded to a multiple of it.
inline constexpr std::int64_t lane_multiple = 16;

constexpr std::int64_t padded(std::int64_t length)
{
    return (length + lane_multiple - 1) / lane_multiple * lane_multiple;
}

/// Attention weights and values of the same entries.
struct WeightedEntries
{
    const float* weights; ///< [entries, weight_stride], the first `columns` of each row count
    std::int64_t weight_stride;
    std::int64_t columns;
    const float* values; ///< [entries, dim]
    std::int64_t dim;
};

/// o - ô of one KV head after the entries of one more segment are evicted.
struct DifferenceStep
{
    std::int64_t columns;
    std::int64_t dim;
    const double* full; ///< [columns, dim]: outputs with the whole cache
    const double* inverse_kept; ///< [columns]: 1 / kept mass
    const double* mass_ratio; ///< [columns]: evicted mass / kept mass
};

/// A matrix in panels of Kernels::panel_columns columns: [panels, inner, panel_columns], columns beyond the last zero.
struct Panels
{
    const float* data;
    std::int64_t inner;
    std::int64_t columns;
};

inline constexpr std::int64_t block_entries = 64; ///< of an EntryBlock
inline constexpr std::int64_t column_tile = 6; ///< AttentionColumns are multiplied so many at once
inline constexpr float lowest_logit = -3e38F; ///< below all others: a maximum over nothing

/// Query columns that attend to entries, block by block: softmax and weighted sum in the making.
struct AttentionColumns
{
    const float* queries; ///< [columns, key_dim], scaled by 1 / sqrt(key_dim); key_dim may be any number
    std::int64_t key_dim;
    float* maxima; ///< [columns] largest logit so far, lowest_logit before the first
    float* mass; ///< [columns, lane_multiple] parts of the sum of exp(logit - maximum)
    float* sums; ///< [columns, dim] sum of exp(logit - maximum) times values
    std::int64_t dim;
};

struct EntryBlock
{
    const float* keys; ///< [key_dim, block_entries]: transposed
    const float* values; ///< [block_entries, dim]
};

struct Kernels
{
    const char* name;
    std::int64_t panel_columns;

    /// Adds over the listed entries: weights times values to sums [columns, dim], weights to mass [columns].
    void (*add_entries)(
        const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, float* sums, double* mass);

    /// logits [count, columns] in double of keys [count, dim] with queries [dim, columns]; columns a multiple of
    /// lane_multiple.
    void (*logits)(const float* keys, std::int64_t count, std::int64_t dim, const double* queries, std::int64_t columns,
        double* logits);

    /// Raises maxima [columns] to the largest logit [count, columns] of each column.
    void (*raise_maxima)(const double* logits, std::int64_t count, std::int64_t columns, double* maxima);

    /// weights [count, columns] = exp(logits - maxima), the maxima per column.
    void (*exponentials)(
        const double* logits, std::int64_t count, std::int64_t columns, const double* maxima, float* weights);

    /// Adds a segment's sums [columns, dim] (none where null) to evicted [columns, dim], then writes evicted *
    /// inverse_kept - full * mass_ratio of column c to rows[c] [dim], and its norms to l1 and l2 [columns].
    void (*differences)(
        const DifferenceStep& step, const float* segment, double* evicted, float* const* rows, double* l1, double* l2);

    /// Norms [count] of the rows [count, stride] times a matrix. The product is never stored. Sums of squares are
    /// formed in fp32.
    void (*product_norms)(
        const float* rows, std::int64_t stride, std::int64_t count, const Panels& matrix, double* l1, double* l2);

    /// Adds a block to the first `count` columns, a multiple of column_tile: column c sees the block's first visible[c]
    /// entries, which may be none.
    void (*attend_block)(
        const AttentionColumns& columns, const EntryBlock& block, const std::int32_t* visible, std::int64_t count);
};

/// The fastest that this processor runs.
const Kernels& kernels();

/// All that this processor runs, the fastest first.
std::span<const Kernels> runnable_kernels();

} // namespace lava
