#pragma once

#include "replay/scoring.h"
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
};

/// A layer after its scores were sorted: what is left of it when budgets are divided.
struct RankedLayer
{
    std::vector<std::uint32_t> ranking; ///< [num_kv_heads, seq_len]: the window, newest first, then by score
    std::vector<float>
        sorted; ///< [num_kv_heads, evictable] scores in that order; empty unless the policy compares heads
    double weight = 1;
};

/// One budget to divide.
struct BudgetRequest
{
    ModelShape shape;
    std::int64_t seq_len = 0;
    std::int64_t window = 0; ///< recent tokens that the policy never evicts
    std::int64_t budget = 0; ///< entries per KV head on average, window included

    std::int64_t evictable() const { return seq_len - window; }
    std::int64_t spare() const { return budget - window; } ///< what is left of the budget for evictable entries
};

/// Evictable entries of every KV head, [num_layers, num_kv_heads].
struct Allocation
{
    std::vector<std::int64_t> granted; ///< after the policy's own rounding, before clipping to what exists
    std::vector<std::int64_t> retained; ///< really kept; at most `evictable`
};

/// A policy ranks the entries of a layer and divides a budget. Both are pure: same input, same answer. Which entries
/// stay follows: the window and each head's first `retained` entries by score.
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
    /// Divides a layer between its heads by their scores, so that allocate() needs RankedLayer::sorted.
    virtual bool compares_heads() const { return false; }
    /// Needs the column sums over all prompt queries.
    virtual bool needs_observed_attention() const { return false; }
    /// A policy that keeps one given set whatever the budget: its budgets are this one alone, in entries of the run.
    virtual std::optional<std::int64_t> fixed_total() const { return std::nullopt; }

    virtual LayerScores score(const LayerInputs& layer) const = 0;
    virtual Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const = 0;
};

} // namespace lava
