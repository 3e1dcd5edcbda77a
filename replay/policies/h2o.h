#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

namespace lava {

/// H2O (Zhang et al. 2023, arXiv:2306.14048) as a prefill policy: entries that all the prompt's queries attended to
/// most (heavy hitters), and the most recent ones.
class H2O : public Policy
{
public:
    explicit H2O(const PolicyParams& params)
        : window_(params.integer("window"))
        , diagonal_(params.is_on("diagonal"))
        , gqa_(parse_group_reduction(params.text("gqa")))
    { }

    std::int64_t window() const override { return window_; }
    PolicyNeeds needs() const override { return {.observed_attention = true}; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto sums = layer.observed_attention(diagonal_).narrow(1, 0, layer.seq_len() - window_);
        return {reduce_group(sums, layer.shape(), gqa_)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        auto window = window_parameter(0);
        window.help = "recent tokens that stay";
        return {window, gqa_parameter("mean"),
            choice_parameter("diagonal", "on", {"on", "off"}, "count each token's attention to itself")};
    }

private:
    std::int64_t window_;
    bool diagonal_;
    GroupReduction gqa_;
};

} // namespace lava
