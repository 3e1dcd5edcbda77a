#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

// Scores that need no query: of a layer's keys and values alone. All of them take [heads, tokens, head_dim] and give
// [heads, tokens] fp32, higher is kept.

/// Minus the key's L2 norm (Devoto et al. 2024, arXiv:2406.11430): keys of small norm are attended to.
at::Tensor key_norm_scores(const at::Tensor& k);

/// Minus the cosine between each key and the mean of the normalised keys (KeyDiff, Park et al. 2025, arXiv:2504.15364):
/// distinct keys stay.
at::Tensor key_difference_scores(const at::Tensor& k);

/// LagKV (Liang et al. 2025, arXiv:2504.04704).
struct LagRule
{
    std::int64_t sinks = 4;
    std::int64_t lag = 128; ///< tokens of a partition
    bool across = false; ///< the scores themselves compare across partitions, instead of places within each
};

/// Every partition of `lag` tokens behind the sinks is scored by how its channels spread once scaled to the range that
/// the next partition has there; keys and values averaged. Sinks, the last partition and what is left over get 1. A
/// prompt of fewer than two partitions is ranked by recency.
at::Tensor lag_scores(const at::Tensor& k, const at::Tensor& v, const LagRule& rule);

} // namespace lava
