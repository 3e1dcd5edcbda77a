#pragma once

#include "replay/policies/window_attention.h"

namespace lava {

/// SnapKV (Li et al. 2024, arXiv:2404.14469): every head keeps the entries that the last queries attend to most.
class SnapKv : public Policy
{
public:
    explicit SnapKv(const PolicyParams& params)
        : score_(params)
    { }

    std::int64_t window() const override { return score_.window; }
    std::int64_t query_rows() const override { return score_.window; }
    LayerScores score(const LayerInputs& layer) const override { return {score_.entries(layer)}; }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters() { return SnapScore::parameters(); }

private:
    SnapScore score_;
};

} // namespace lava
