#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/wrapper.h"
#include "replay/scores/merging.h"

namespace lava {

/// Merging on eviction (kvpress 0.5.5's MergingPress): any policy's scores; an evicted entry's value is folded into the
/// kept entry whose key is most like its own. Keys stay.
class Merging : public Wrapper
{
public:
    explicit Merging(const PolicyParams& params)
        : Wrapper(params)
        , rule_{params.real("similarity"), params.real("fraction")}
    { }

    bool changes_values() const override { return true; }

    at::Tensor values(const LayerInputs& layer, const KeptEntries& kept) const override
    {
        return merged_values(layer.k(), layer.v(), kept, rule_);
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {base_parameter(), real_parameter("similarity", "0", 0, 1, "least cosine of two keys that are merged"),
            real_parameter("fraction", "1", 1e-6, 1, "share of the evicted entries that are, the most similar ones")};
    }

private:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores}; }

    MergingRule rule_;
};

} // namespace lava
