#pragma once

#include "replay/policies/uniform.h"
#include "replay/scores/expected_attention.h"

namespace lava {

/// Expected attention (Devoto et al. 2025, arXiv:2510.00636; kvpress's ExpectedAttentionPress): what queries of the
/// prompt's mean and covariance would attend to at the positions to come, times the value's norm. kvpress's registry
/// takes it as ada:base=[expected-attention:epsilon=0.01].
class ExpectedAttention : public UniformPolicy
{
public:
    explicit ExpectedAttention(const PolicyParams& params)
        : rule_{
            params.integer("future"), params.is_on("covariance"), params.is_on("value_norm"), params.real("epsilon")}
    { }

    PolicyNeeds needs() const override { return {.query_statistics = true, .rope = true}; }
    LayerScores score(const LayerInputs& layer) const override { return {expected_attention_scores(layer, rule_)}; }

    static std::vector<ParameterInfo> parameters()
    {
        return {integer_parameter("future", 512, 1, 1000000, "positions behind the prompt that are averaged over"),
            choice_parameter("covariance", "on", {"on", "off"}, "use the queries' covariance besides their mean"),
            choice_parameter("value_norm", "on", {"on", "off"}, "times the value's L2 norm"),
            real_parameter("epsilon", "0", 0, 1e9, "added to the attention before that")};
    }

private:
    ExpectedAttentionRule rule_;
};

} // namespace lava
