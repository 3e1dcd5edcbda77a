#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <ATen/ATen.h>

namespace lava {

/// Window attention in which a query counts half as much as the one `half_life` tokens after it. Every head keeps the
/// same number of entries.
class HalfLife : public Policy
{
public:
    explicit HalfLife(const PolicyParams& params)
        : window_(params.integer("window"))
        , half_life_(params.real("half_life"))
    { }

    std::int64_t window() const override { return window_; }
    std::int64_t query_rows() const override { return window_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto evictable = layer.seq_len() - window_;
        const auto attention
            = layer.window_attention(window_).narrow(2, 0, evictable); // [num_heads, window, evictable]
        const auto age = at::arange(window_ - 1, -1, -1, at::kFloat); // [window], the last query's is 0
        const auto weights = at::exp2(-age / half_life_).view({1, window_, 1});
        return {reduce_group((attention * weights).sum(1), layer.shape(), GroupReduction::mean)};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {window_parameter(),
            real_parameter("half_life", "8", 0.01, 1e6, "tokens after which a query counts half as much")};
    }

private:
    std::int64_t window_;
    double half_life_;
};

} // namespace lava
