#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"
#include "replay/scores/capacity.h"

namespace lava {

/// CapKV (arXiv:2604.25975) as kvpress 0.5.5 computes it: the leverage of each value under a covariance that weighs
/// values by how their keys align with an anchor, the prompt's mean query turned to where the next tokens will be. The
/// first four tokens, which the trace's mean leaves out, stay.
class CapKv : public Policy
{
public:
    explicit CapKv(const PolicyParams& params)
        : tau_(params.real("tau"))
        , future_(params.integer("future"))
    { }

    std::int64_t reserved() const override { return capacity_sinks; }
    PolicyNeeds needs() const override { return {.query_statistics = true, .rope = true}; }

    LayerScores score(const LayerInputs& layer) const override { return {capacity_scores(layer, tau_, future_)}; }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {real_parameter("tau", "5", 0, 1e3, "sharpness of the alignment's weights"),
            integer_parameter("future", 512, 1, 1 << 20, "positions after the prompt that the anchor is turned to")};
    }

private:
    double tau_;
    std::int64_t future_;
};

} // namespace lava
