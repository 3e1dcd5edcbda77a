#pragma once

#include "replay/policies/window_attention.h"

namespace lava {

/// PyramidKV (Cai et al. 2024, arXiv:2406.02069): SnapKV's scores, more entries in the lower layers. The integer
/// schedule is AdaKV's and LAVa's code, computed for this trace's length; its floored step grants more than asked.
class PyramidKv : public Policy
{
public:
    explicit PyramidKv(const PolicyParams& params)
        : score_(params)
        , beta_(params.integer("beta"))
    { }

    std::int64_t window() const override { return score_.window; }
    std::int64_t query_rows() const override { return score_.window; }
    LayerScores score(const LayerInputs& layer) const override { return {score_.entries(layer)}; }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(pyramid_layers(request, beta_), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        auto parameters = SnapScore::parameters();
        parameters.push_back(beta_parameter());
        return parameters;
    }

private:
    SnapScore score_;
    std::int64_t beta_;
};

} // namespace lava
