#pragma once

#include "replay/policy.h"

#include <string>

namespace lava {

/// What a policy answers is checked against policy.h where policy and layer are known. Each throws Error with one
/// sentence that names policy and layer, what was expected and what was found.

/// Scores that are about to be ranked; `request` says how many heads, tokens and layers there are.
void check_scores(const Policy& policy, const std::string& name, std::int64_t layer, const LayerScores& scores,
    const BudgetRequest& request);

void check_allocation(const std::string& name, const Allocation& allocation, const BudgetRequest& request);

/// Values of what is kept.
void check_values(const std::string& name, const LayerInputs& layer, const KeptEntries& kept, const at::Tensor& values);

} // namespace lava
