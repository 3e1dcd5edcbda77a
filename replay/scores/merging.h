#pragma once

#include "replay/policy.h"

#include <cstdint>

namespace lava {

/// How evicted values are folded into kept ones (kvpress 0.5.5, MergingPress).
struct MergingRule
{
    double similarity = 0; ///< least cosine of two keys that are merged
    double fraction = 1; ///< share of a head's evicted entries that are, the most similar ones
};

/// [heads, seq_len, head_dim]: v, where each evicted entry e is folded into the kept entry t whose key is most like its
/// own: v_t = (v_t + sum w_e v_e) / (1 + sum w_e), w_e = max(cos, 0) ||v_e|| / (||v_e|| + ||v_t|| + 1e-6).
/// k, v: [heads, seq_len, head_dim].
at::Tensor merged_values(const at::Tensor& k, const at::Tensor& v, const KeptEntries& kept, const MergingRule& rule);

/// CaM's merging (kvpress 0.5.5, CAMPress, once over the whole prompt).
struct CamRule
{
    std::int64_t merge_budget = 32; ///< kept entries, the next ones, that an evicted one is spread over
    bool sample = true; ///< merge with a probability; otherwise by that share
    std::uint64_t seed = 0;
};

/// [heads, seq_len, head_dim]: v, where each evicted entry's value over n is added to each of the n <= merge_budget
/// next kept entries of its head, with probability min(1, its attention / their mean attention). attention: [heads,
/// seq_len].
at::Tensor cam_values(
    const at::Tensor& v, const at::Tensor& attention, const KeptEntries& kept, const CamRule& rule, std::int64_t layer);

} // namespace lava
