#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/wrapper.h"
#include "replay/scores/merging.h"

#include <ATen/ATen.h>

namespace lava {

/// CaM (Zhang et al. 2024, openreview LCTmppB165) as kvpress 0.5.5's CAMPress merges, at the end of the prompt instead
/// of every few decode steps: any policy's scores, averaged over the layer's KV heads; an evicted value is spread over
/// the next kept entries, with a probability that grows with its attention. All evicted entries are candidates, and
/// attention is that of all the prompt's queries.
class Cam : public Wrapper
{
public:
    explicit Cam(const PolicyParams& params)
        : Wrapper(params)
        , rule_{params.integer("merge_budget"), params.is_on("sample"),
              static_cast<std::uint64_t>(params.integer("seed"))}
    { }

    PolicyNeeds needs() const override
    {
        auto needs = Wrapper::needs();
        needs.observed_attention = true;
        return needs;
    }
    bool changes_values() const override { return true; }

    at::Tensor values(const LayerInputs& layer, const KeptEntries& kept) const override
    {
        const auto attention = reduce_group(layer.observed_attention(true), layer.shape(), GroupReduction::mean);
        return cam_values(layer.v(), attention, kept, rule_, layer.layer());
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {base_parameter(),
            integer_parameter("merge_budget", 32, 1, INT64_MAX, "kept entries that an evicted value is spread over"),
            choice_parameter("sample", "on", {"on", "off"}, "draw whether to merge, or merge by the probability"),
            integer_parameter("seed", 0, 0, INT64_MAX, "seed of the counter-based generator")};
    }

private:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores.mean(0, true).expand_as(scores)}; }

    CamRule rule_;
};

} // namespace lava
