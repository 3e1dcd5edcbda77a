#pragma once

#include "replay/policies/uniform.h"
#include "replay/scores/key_scores.h"
#include "replay/scores/scoring.h"

#include <algorithm>

namespace lava {

/// Keys of small L2 norm stay (Devoto et al. 2024, arXiv:2406.11430; kvpress's KnormPress).
class Knorm : public UniformPolicy
{
public:
    explicit Knorm(const PolicyParams&) { }

    LayerScores score(const LayerInputs& layer) const override { return {key_norm_scores(layer.k())}; }

    static std::vector<ParameterInfo> parameters() { return {}; }
};

/// KVCache-Factory's L2NormCluster: the first two layers are left whole, which is not counted against the budget; keys
/// are repeated for every query head.
class KnormBehindTwoLayers : public Knorm
{
public:
    using Knorm::Knorm;

    bool per_query_head() const override { return true; }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        auto numbers = uniform_layers(request.shape.num_layers, request.budget);
        for (std::size_t layer = 0; layer < std::min<std::size_t>(2, numbers.size()); ++layer) {
            numbers[layer] = request.seq_len;
        }
        return uniform_heads(numbers, request);
    }
};

} // namespace lava
