#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"
#include "replay/scores/recency.h"
#include "replay/scores/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// StreamingLLM (Xiao et al. 2024, arXiv:2309.17453): the first tokens (attention sinks) and the most recent ones, the
/// same in every head.
class StreamingLlm : public Policy
{
public:
    explicit StreamingLlm(const PolicyParams& params)
        : sinks_(params.integer("sinks"))
        , recent_(params.integer("recent"))
    { }

    std::int64_t window() const override { return recent_; }
    std::int64_t reserved() const override { return recent_ > 0 ? recent_ : sinks_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto heads = layer.shape().num_kv_heads;
        if (recent_ > 0) {
            const auto evictable = layer.seq_len() - recent_;
            return {(-at::arange(evictable, at::kFloat)).expand({heads, evictable})};
        }
        return {sinks_and_recency(heads, layer.seq_len(), sinks_)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {integer_parameter("sinks", 4, 0, INT64_MAX, "first tokens that stay"),
            integer_parameter("recent", 0, 0, INT64_MAX,
                "most recent tokens that stay, the rest of the budget goes to the first; 0: all but the sinks")};
    }

private:
    std::int64_t sinks_;
    std::int64_t recent_;
};

} // namespace lava
