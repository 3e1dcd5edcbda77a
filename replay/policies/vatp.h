#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// VATP (Guo et al. 2024, arXiv:2406.12335) in the form of the LAVa paper's Table 4: the window's attention, pooled per
/// query head, times each value's L1 norm, then reduced over the group.
class Vatp : public Policy
{
public:
    explicit Vatp(const PolicyParams& params)
        : window_(params.integer("window"))
        , kernel_(params.integer("kernel"))
        , pool_(parse_pool(params.text("pool")))
        , gqa_(parse_group_reduction(params.text("gqa")))
    { }

    std::int64_t window() const override { return window_; }
    std::int64_t query_rows() const override { return window_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto attention = pool_positions(layer.mean_window_attention(window_), pool_, kernel_);
        const auto norms = layer.value_norms().narrow(1, 0, attention.size(1));
        const auto weighted = attention * norms.repeat_interleave(layer.shape().group_size(), 0);
        return {reduce_group(weighted, layer.shape(), gqa_)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("mean")};
    }

private:
    std::int64_t window_;
    std::int64_t kernel_;
    Pool pool_;
    GroupReduction gqa_;
};

} // namespace lava
