#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <ATen/ATen.h>

namespace lava {

/// Evicts nothing: the loss it shows is 0, whatever the budget.
class Full : public Policy
{
public:
    explicit Full(const PolicyParams&) { }

    LayerScores score(const LayerInputs& layer) const override
    {
        return {at::zeros({layer.shape().num_kv_heads, layer.seq_len()})};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.seq_len), request);
    }

    static std::vector<ParameterInfo> parameters() { return {}; }
};

} // namespace lava
