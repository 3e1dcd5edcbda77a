#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"
#include "replay/scores/leverage_norms.h"

namespace lava {

/// CUR (CurDKV: Sengupta et al. 2025, arXiv:2509.15038) as kvpress 0.5.5 approximates it: squared norms of keys and
/// values, each as a share of its block of tokens, multiplied; the first tokens stay. Its random projection has no
/// counterpart here: kvpress draws it without a seed.
class Cur : public Policy
{
public:
    explicit Cur(const PolicyParams& params)
        : sinks_(params.integer("sinks"))
        , block_(params.is_on("local") ? params.integer("block") : 0)
        , leverage_(parse_leverage(params.text("leverage")))
    { }

    std::int64_t reserved() const override { return sinks_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        return {leverage_norms(layer.k(), layer.v(), leverage_, block_, sinks_)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {integer_parameter("sinks", 4, 0, INT64_MAX, "first tokens that stay"),
            choice_parameter("leverage", "kv_product", {"key", "value", "kv_avg", "kv_product"},
                "squared norms that make the score"),
            choice_parameter("local", "on", {"on", "off"}, "norms as shares of their block of tokens"),
            integer_parameter("block", 16, 1, INT64_MAX, "tokens of a block")};
    }

private:
    std::int64_t sinks_;
    std::int64_t block_;
    Leverage leverage_;
};

} // namespace lava
