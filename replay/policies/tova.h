#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// TOVA (Oren et al. 2024, arXiv:2401.06104) as a prefill policy: what the last token attends to, averaged over all
/// heads of the layer (or over each KV head's own group, as LAVa's Eq. 19 has it); the last token stays.
class Tova : public Policy
{
public:
    explicit Tova(const PolicyParams& params)
        : per_layer_(params.text("heads") == "layer")
    { }

    std::int64_t window() const override { return 1; }
    std::int64_t query_rows() const override { return 1; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto attention = layer.mean_window_attention(1);
        if (per_layer_) {
            return {attention.mean(0, true).expand({layer.shape().num_kv_heads, attention.size(1)})};
        }
        return {reduce_group(attention, layer.shape(), GroupReduction::mean)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {
            choice_parameter("heads", "layer", {"layer", "group"}, "average over the layer's heads, or each group's")};
    }

private:
    bool per_layer_;
};

} // namespace lava
