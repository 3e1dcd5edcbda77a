#pragma once

#include "traces/trace.h"

#include <vector>

namespace lava {

/// Deviation of one layer: its attention output recomputed with the full cache (fp32 inputs, fp64 arithmetic not
/// needed) against the recorded one: the worst evaluation step's ||recomputed - recorded||_2 / ||recorded||_2.
struct LayerDeviation
{
    std::int64_t layer = 0;
    double worst_step = 0;
};

/// The deviation a trace may have (method: 1e-4 f32, 1e-2 f16, 5e-2 bf16), by the coarsest type stored.
double verify_tolerance(StoreType type);

/// [eval_len, seq_len + eval_len] bool: a step sees nothing behind itself, nor what has left its window.
at::Tensor hidden_entries(const LayerView& layer);

/// [eval_len, hidden_size]: attention output of the evaluation steps over the whole cache, W_O and b_o applied.
at::Tensor recompute_attn_out(const LayerView& layer);

LayerDeviation verify_layer(const LayerView& layer);

} // namespace lava
