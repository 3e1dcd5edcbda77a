#pragma once

#include "replay/policies/uniform.h"
#include "replay/scores/key_scores.h"
#include "replay/scoring.h"

namespace lava {

/// Keys of small L2 norm stay (Devoto et al. 2024, arXiv:2406.11430; kvpress's KnormPress).
class Knorm : public UniformPolicy
{
public:
    explicit Knorm(const PolicyParams&) { }

    LayerScores score(const LayerInputs& layer) const override { return {key_norm_scores(layer.k())}; }

    static std::vector<ParameterInfo> parameters() { return {}; }
};

} // namespace lava
