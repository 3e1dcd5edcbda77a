#pragma once

#include "replay/scores/scoring.h"

namespace lava {

/// Expected attention (Devoto et al. 2025, arXiv:2510.00636) as kvpress 0.5.5 computes it.
struct ExpectedAttentionRule
{
    std::int64_t future = 512; ///< positions behind the prompt over which the rotation is averaged
    bool covariance = true;
    bool value_norm = true; ///< times the value's L2 norm
    double epsilon = 0; ///< added before that
};

/// First tokens that are left out of the queries' statistics and of the softmax, and always rank first.
inline constexpr std::int64_t expected_attention_sinks = 4;

/// [num_kv_heads, seq_len]: softmax over the entries behind the sinks of k.mu / sqrt(d) + k^T S k / (2 d), mu and S
/// the mean and covariance of the prompt's queries turned to the positions to come; the group's mean. Sinks get the
/// largest score + 1. Throws Error where the prompt is no longer than the sinks.
at::Tensor expected_attention_scores(const LayerInputs& layer, const ExpectedAttentionRule& rule);

} // namespace lava
