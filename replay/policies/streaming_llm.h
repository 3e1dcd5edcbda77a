#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"

#include <ATen/ATen.h>

#include <limits>

namespace lava {

/// StreamingLLM (Xiao et al. 2024, arXiv:2309.17453): the first tokens (attention sinks) and the most recent ones, the
/// same in every head.
class StreamingLlm : public Policy
{
public:
    explicit StreamingLlm(const PolicyParams& params)
        : sinks_(params.integer("sinks"))
    { }

    std::int64_t reserved() const override { return sinks_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        auto recency = at::arange(layer.seq_len(), at::kFloat);
        recency.narrow(0, 0, std::min(sinks_, layer.seq_len())).fill_(std::numeric_limits<float>::max());
        return {recency.expand({layer.shape().num_kv_heads, layer.seq_len()})};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {integer_parameter("sinks", 4, 0, INT64_MAX, "first tokens that stay")};
    }

private:
    std::int64_t sinks_;
};

} // namespace lava
