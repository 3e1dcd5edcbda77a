#pragma once

#include "replay/policies/uniform.h"
#include "replay/scores/key_scores.h"
#include "replay/scores/scoring.h"

namespace lava {

/// LagKV (Liang et al. 2025, arXiv:2504.04704; kvpress's LagKVPress): tokens that spread most in the units of the
/// partition behind theirs.
class LagKv : public UniformPolicy
{
public:
    explicit LagKv(const PolicyParams& params)
        : rule_{params.integer("sinks"), params.integer("lag"), params.is_on("across")}
    { }

    LayerScores score(const LayerInputs& layer) const override { return {lag_scores(layer.k(), layer.v(), rule_)}; }

    static std::vector<ParameterInfo> parameters()
    {
        return {integer_parameter("sinks", 4, 0, INT64_MAX / 4, "first tokens that stay"),
            integer_parameter("lag", 128, 1, INT64_MAX / 4, "tokens of a partition"),
            choice_parameter("across", "off", {"on", "off"}, "compare scores, not places, across partitions")};
    }

private:
    LagRule rule_;
};

} // namespace lava
