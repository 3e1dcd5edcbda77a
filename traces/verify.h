#pragma once

#include "traces/trace.h"

#include <string>
#include <vector>

namespace lava {

/// One layer's attention output recomputed with the full cache against the recorded one, by evaluation step:
/// ||recomputed - recorded||_2 / ||recorded||_2. What a step may deviate by follows from how its tensors are stored
/// (step_tolerances).
struct LayerDeviation
{
    std::int64_t layer = 0;
    double worst_step = 0; ///< the largest deviation of a step
    double deviation = 0; ///< of the step that is largest in relation to its tolerance
    double tolerance = 0; ///< of that step

    bool holds() const { return deviation <= tolerance; }
};

/// [eval_len, seq_len + eval_len] bool: a step sees nothing behind itself, nor what has left its window.
at::Tensor hidden_entries(const LayerView& layer);

/// [eval_len, hidden_size]: attention output of the evaluation steps over the whole cache, W_O and b_o applied.
at::Tensor recompute_attn_out(const LayerView& layer);

/// What sums in float32 may differ by whatever is stored, as a share of what is compared.
inline constexpr double float_tolerance = 1e-4;

/// [eval_len] relative deviations of attn_out that rounding may cause: float_tolerance, and four times the root mean
/// square, to first order, of what rounding q, k, v, W_O and attn_out to the stored types does to each step (for a run
/// in half precision also what it rounds itself).
std::vector<double> step_tolerances(const LayerView& layer);

LayerDeviation verify_layer(const LayerView& layer);

/// Something that tensors of a layer have in common in every honest trace.
struct Identity
{
    std::string name; ///< in a few words, what holds where it does
    std::string what; ///< datasets, and what deviates from what where it does not
    double deviation = 0;
    double tolerance = 0;

    bool holds() const { return deviation <= tolerance; } // not a number: no
};

/// Identities that the layer's datasets allow to check, with the worst deviation of each.
std::vector<Identity> check_identities(const LayerView& layer, const TraceInfo& info);

/// Datasets that neither verify_layer nor an identity looks at, with the reason: a line each.
std::vector<std::string> not_checkable(const TraceInfo& info);

/// The first thing that does not hold, with deviation and tolerance; empty where all does.
std::string fault_of(const LayerDeviation& deviation, const std::vector<Identity>& identities);

} // namespace lava
