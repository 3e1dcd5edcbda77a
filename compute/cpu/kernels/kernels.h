#pragma once

// The inner loops of the replay, for one instruction set. They take raw pointers and know neither LibTorch nor layers.
// Lengths called `dim` are multiples of lane_multiple, padded with zeros.

#include <cstdint>

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

/// Keys and values of all entries, [., dim] each.
struct EntryRows
{
    const float* keys;
    const float* values;
    std::int64_t dim;
};

/// A stretch of the vocabulary in two runs whose logits differ by delta.
struct LogitChange
{
    const float* delta; ///< logits of the other run minus those of the first
    float mean; ///< E_p[delta]
    const float* logits; ///< of the first run
    const float* log_p; ///< of the first run: log of its probabilities p
    const float* p;
};

struct Kernels
{
    std::int64_t panel_columns;

    /// Adds over the listed entries: weights times values to sums [columns, dim], weights to mass [columns].
    void (*add_entries)(
        const WeightedEntries& entries, const std::uint32_t* rows, std::int64_t count, float* sums, double* mass);

    /// Adds `count` floats to doubles.
    void (*accumulate)(const float* from, std::int64_t count, double* to);

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

    /// scores [count, columns] of keys [count, dim], any dim, with query panels [columns / panel, dim, panel],
    /// panel = score_panel.
    void (*scores)(const float* keys, std::int64_t count, std::int64_t dim, const float* panels, std::int64_t columns,
        float* scores);

    /// Scores [count, columns] become exp(score - maximum of the column), which goes to maxima, and their sum to sums.
    void (*exponentiate_block)(float* scores, std::int64_t count, std::int64_t columns, float* maxima, double* sums);

    /// sums [count] = sum over `columns` of rows [count, stride] times factors [columns].
    void (*row_products)(const float* rows, std::int64_t stride, std::int64_t count, const float* factors,
        std::int64_t columns, float* sums);

    /// norms [count] = ||row||_1 of rows [count, length]; any length.
    void (*row_norms)(const float* rows, std::int64_t count, std::int64_t length, float* norms);

    /// Adds a block to the first `count` columns, a multiple of column_tile: column c sees the block's first visible[c]
    /// entries, which may be none.
    void (*attend_block)(
        const AttentionColumns& columns, const EntryBlock& block, const std::int32_t* visible, std::int64_t count);

    /// Copies the listed entries, at most block_entries, into the first slots of a block: keys [dim, block_entries],
    /// values [block_entries, padded(dim)]. dim may be any number.
    void (*gather_block)(
        const EntryRows& entries, const std::uint32_t* rows, std::int64_t count, float* keys, float* values);

    /// Sum of p (exp(u) - 1 - u) with u = delta - mean. Where a logit of the other run exceeds `best`, the largest
    /// becomes `best` and its place, the first of equal ones, `best_index`.
    double (*logit_divergence)(const LogitChange& change, std::int64_t count, float& best, std::int64_t& best_index);
};

/// Columns of a panel of queries: a multiple of what every instruction set works on.
inline constexpr std::int64_t score_panel = 32;

} // namespace lava
