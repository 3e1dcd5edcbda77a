#pragma once

#include "replay/losses/loss.h"
#include "replay/plan.h"
#include "replay/policy.h"

#include <cstddef>
#include <map>
#include <span>
#include <vector>

namespace lava {

/// Losses 1-3 of a layer where a policy changes the values of what it keeps. With Â the attention after eviction and v'
/// the new values, o - ô = (A - Â) V + sum over kept Â_i (v_i - v'_i): the first term as in LayerAttention, the second
/// from the differences of values, so that nothing nearly equal is subtracted. In double, one retained set at a time.
class ChangedValues
{
public:
    /// `layer` must have its loss part and outlive this.
    explicit ChangedValues(const LayerView& layer);

    /// G = 1. values: [num_kv_heads, seq_len, head_dim], of which those of kept entries count. The bounds are empty:
    /// they speak of values as they were.
    LayerLosses losses(const KeptEntries& kept, const at::Tensor& values) const;

private:
    at::Tensor head_difference(std::int64_t kv_head, std::span<const std::uint32_t> kept, const at::Tensor& values,
        at::Tensor& evicted_share) const;

    const LayerView& layer_;
    std::vector<at::Tensor> weights_; // [num_kv_heads] of [group * T, N + T]: exp(logit - the row's maximum)
};

/// The policies of a report that change values, whose losses are measured in their own way.
class ChangingPolicies
{
public:
    /// `runs` must outlive this.
    ChangingPolicies(std::span<const Run> runs, const ReplayReport& report);

    /// Whether the report's policy is one of them.
    bool contains(std::size_t policy) const { return by_index_.contains(policy); }

    /// One layer's losses of all of them at every budget into the report. Bounds and what needs the model stay empty.
    void measure(const LayerView& view, int threads, ReplayReport& report) const;

private:
    std::map<std::size_t, const Policy*> by_index_;
    bool any_per_query_head_ = false;
};

} // namespace lava
