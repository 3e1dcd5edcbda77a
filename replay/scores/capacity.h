#pragma once

#include "replay/scores/scoring.h"

namespace lava {

/// First tokens that rank above all others: those that the trace's query statistics leave out.
inline constexpr std::int64_t capacity_sinks = 4;

/// CapKV's scores [num_kv_heads, seq_len] (kvpress 0.5.5, CapPress). Per query head, over the entries i behind the
/// sinks: a_i = cos(k_i, R mu) with R the mean rotation of the `future` positions after the prompt and mu the mean
/// query before RoPE; w_i = exp(tau (a_i - max a)); A = I + sum_i (w_i + 1e-6) v_i v_i^T; s_i = w_i v_i^T A^-1 v_i; the
/// group's mean. In double. Throws Error for a prompt that has no more than the sinks.
at::Tensor capacity_scores(const LayerInputs& layer, double tau, std::int64_t future);

} // namespace lava
