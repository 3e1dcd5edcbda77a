#pragma once

#include "replay/losses/loss.h"
#include "replay/plan.h"
#include "replay/policy.h"

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

/// Replaces the losses of the runs that change values, whose bounds become empty; the others stay. Reads the trace's
/// layers once more where there is such a run.
void measure_changed_values(const Trace& trace, std::span<const Run> runs, ReplayReport& report, int threads);

} // namespace lava
