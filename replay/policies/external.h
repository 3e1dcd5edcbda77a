#pragma once

#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <vector>

namespace lava {

/// A retained set made anywhere, in the JSON of `lava-analyze retained`: {"seq_len": N, "kept":
/// [layer][kv_head][positions]}
/// ("policy" and "budget" may be there). Its budget is what it keeps.
class External : public Policy
{
public:
    /// Throws Error naming the file, expected and found.
    explicit External(const PolicyParams& params);

    bool ignores_budget() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    std::string file_;
    std::int64_t seq_len_ = 0;
    std::vector<std::vector<std::vector<std::int64_t>>> kept_; // [layer][kv_head][positions, ascending]
};

} // namespace lava
