#pragma once

#include "replay/policy.h"

namespace lava {

// How kvpress 0.5.5 divides a budget: the window is among the entries, and totals are exact.

/// Entries of each head, [num_kv_heads]: the best `safe` of every head, and the layer's best of the rest until there
/// are num_kv_heads * per_head (AdaKVPress). Ties: lower head, then older entry. `layer.merged` must be filled.
std::vector<std::int64_t> safeguarded_counts(
    const RankedLayer& layer, std::int64_t num_kv_heads, std::int64_t per_head, std::int64_t safe);

/// The least number of entries that AdaKVPress leaves a head: int(alpha * per_head), at least 1 where alpha > 0.
std::int64_t safeguard(std::int64_t per_head, double alpha);

/// Every layer by those; nothing is evicted where per_head is all.
Allocation safeguarded_heads(std::span<const RankedLayer> layers, const BudgetRequest& request, double alpha);

/// PyramidKVPress's schedule, window included: linear in the layer and rounded half to even; uniform, round(N (1 - r)),
/// where the least would be below the window or the most does not exist. [num_layers]
std::vector<std::int64_t> kvpress_pyramid(const BudgetRequest& request, std::int64_t window, std::int64_t beta);

/// What score() or at_budget() settled for every head, clipped to what exists.
Allocation settled_heads(std::span<const RankedLayer> layers, const BudgetRequest& request);

} // namespace lava
