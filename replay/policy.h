#pragma once

#include "base/large_vector.h"
#include "replay/scores/scoring.h"
#include "traces/model_shape.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lava {

/// How important a layer's entries are to a policy.
struct LayerScores
{
    at::Tensor
        entries; ///< [num_kv_heads, seq_len - window] fp32, finite; higher is kept longer, ties keep the older entry
    double weight = 1; ///< the layer's claim on the total budget, for policies whose layers share one
    std::vector<at::Tensor> parts
        = {}; ///< what at_budget() needs besides, for policies that score anew for every budget
    std::vector<std::int64_t> head_counts
        = {}; ///< [num_kv_heads] numbers of entries that are settled with the scores, for allocate()
};

/// A layer after its scores were sorted: what is left of it when budgets are divided.
struct RankedLayer
{
    /// [num_kv_heads, seq_len]: the window, newest first, then protected entries, oldest first, then by score
    std::vector<std::uint32_t> ranking;
    /// [num_kv_heads, evictable] scores in that order, protected entries' infinite; empty unless the policy compares
    /// heads
    LargeVector<float> sorted;
    /// [num_kv_heads, evictable]: the place of each of those scores among all of the layer, ties to the lower head,
    /// then the older entry
    LargeVector<std::uint32_t> merged;
    double weight = 1;
    std::vector<std::int64_t> head_counts; ///< as in LayerScores
};

/// One budget to divide.
struct BudgetRequest
{
    ModelShape shape; ///< num_kv_heads: heads that keep caches of their own, as many as query heads for some policies
    std::int64_t seq_len = 0;
    std::int64_t window = 0; ///< recent tokens that the policy never evicts
    std::int64_t budget = 0; ///< entries per KV head on average, window included
    std::optional<double> ratio = {}; ///< the share to evict, where the budget was given as one (kvpress)

    std::int64_t evictable() const { return seq_len - window; }
    std::int64_t spare() const { return budget - window; } ///< what is left of the budget for evictable entries
    std::int64_t heads() const { return shape.num_layers * shape.num_kv_heads; } ///< of the model

    /// The budget's share of `count` things: int(count * (1 - ratio)) in kvpress's order of operations, or
    /// count * budget / seq_len rounded down.
    std::int64_t share(std::int64_t count) const
    {
        return ratio ? static_cast<std::int64_t>(static_cast<double>(count) * (1 - *ratio)) : count * budget / seq_len;
    }
    /// The share that is evicted: kvpress's compression_ratio.
    double evicted_share() const
    {
        return ratio.value_or(1 - static_cast<double>(budget) / static_cast<double>(seq_len));
    }
};

/// Evictable entries of every KV head, [num_layers, num_kv_heads].
struct Allocation
{
    std::vector<std::int64_t> granted; ///< after the policy's own rounding, before clipping to what exists
    std::vector<std::int64_t> retained; ///< really kept; at most `evictable`
};

/// What each head of a layer keeps: so many of the first entries of its ranking.
struct KeptEntries
{
    std::span<const std::uint32_t> ranking; ///< [heads, seq_len]
    std::span<const std::int64_t> counts; ///< [heads]

    std::span<const std::uint32_t> of(std::int64_t head) const { return ranking_of(head).first(count(head)); }
    std::span<const std::uint32_t> evicted(std::int64_t head) const { return ranking_of(head).subspan(count(head)); }

private:
    std::span<const std::uint32_t> ranking_of(std::int64_t head) const
    {
        const auto seq_len = ranking.size() / counts.size();
        return ranking.subspan(static_cast<std::size_t>(head) * seq_len, seq_len);
    }
    std::size_t count(std::int64_t head) const
    {
        return static_cast<std::size_t>(counts[static_cast<std::size_t>(head)]);
    }
};

/// What a policy reads of a trace besides keys, values and the last queries.
struct PolicyNeeds
{
    bool observed_attention = false; ///< column sums over all prompt queries
    bool output_projection = false; ///< W_O
    bool query_statistics = false; ///< mean and covariance of the queries before RoPE
    bool rope = false; ///< the rotation's frequencies
    bool repeat_maxima = false; ///< KVzip's scores from a second pass
    bool repeat_maxima_plus = false; ///< KVzip+'s
    bool all_queries = false; ///< the queries of every prompt token
};

/// A policy ranks the entries of a layer and divides a budget. All of it is pure: same input, same answer. Which
/// entries stay follows: the window and each head's first `retained` entries by score.
class Policy
{
public:
    virtual ~Policy() = default;

    /// Recent tokens that are always kept.
    virtual std::int64_t window() const { return 0; }
    /// Budgets at or below this leave nothing to decide and are refused: the window, or the sinks.
    virtual std::int64_t reserved() const { return window(); }
    /// Query rows of the window that scores are computed from.
    virtual std::int64_t query_rows() const { return 0; }
    virtual PolicyNeeds needs() const { return {}; }
    /// Divides a layer, or the model, between heads by their scores, so that allocate() needs RankedLayer::sorted.
    virtual bool compares_heads() const { return false; }
    /// Keeps a cache for every query head, of its own choice: what it is asked to score has num_kv_heads = num_heads,
    /// and a budget is that of a query head.
    virtual bool per_query_head() const { return false; }
    /// What it keeps follows from a set, a threshold or the data, not from a budget: replayed once, at what comes out.
    virtual bool ignores_budget() const { return false; }
    /// A larger budget's ranking is another one, so that at_budget() is asked for every budget.
    virtual bool ranks_by_budget() const { return false; }

    /// Scores may be +inf, as those of entries that rank above all others; otherwise they must be finite.
    virtual bool scores_infinity() const { return false; }

    /// Changes the values of what it keeps, so that values() is asked at every budget.
    virtual bool changes_values() const { return false; }

    /// Keeps other entries than each head's first ones, so that constrain() is asked at every budget.
    virtual bool constrains() const { return false; }

    /// Throws Error where the policy's own file does not fit the trace.
    virtual LayerScores score(const LayerInputs& layer) const = 0;
    /// The scores at one budget, from what score() gave, for policies that rank by budget.
    virtual LayerScores at_budget(const LayerScores& scores, const BudgetRequest&) const { return scores; }
    virtual Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const = 0;
    /// Changes what is kept at one budget to what may be kept: puts it first in `rankings` [num_layers, num_kv_heads,
    /// seq_len], and its numbers, the window included, into `counts` [num_layers, num_kv_heads].
    virtual void constrain(
        std::span<std::uint32_t> /*rankings*/, std::span<std::int64_t> /*counts*/, const BudgetRequest&) const
    { }
    /// [num_kv_heads, seq_len, head_dim]: the values that a retained set is left with; those of evicted entries do not
    /// matter. Of a layer without the window's attention.
    virtual at::Tensor values(const LayerInputs& layer, const KeptEntries&) const { return layer.v(); }
};

} // namespace lava
