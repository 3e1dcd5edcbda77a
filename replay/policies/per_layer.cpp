#include "replay/policies/per_layer.h"

#include "base/error.h"
#include "base/formatted.h"
#include "replay/division/allocation.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

PerLayer::PerLayer(const PolicyParams& params)
    : Wrapper(params)
    , ratios_(params.text("file"))
{
    if (base().ranks_by_budget()) {
        throw UsageError(
            "policy per-layer: base: expected a policy with one ranking for all budgets, found " + params.text("base"));
    }
}

Allocation PerLayer::allocate(std::span<const RankedLayer>, const BudgetRequest& request) const
{
    const auto ratios = ratios_.of_shape({request.shape.num_layers, 1});
    std::vector<std::int64_t> numbers;
    for (std::int64_t layer = 0; layer < request.shape.num_layers; ++layer) {
        const auto ratio = ratios[layer][0].item<double>();
        if (ratio < 0 || ratio > 1) {
            throw Error(formatted("{}: expected ratios from 0 to 1, found {:f}", ratios_.file(), ratio));
        }
        const auto share = static_cast<std::int64_t>(static_cast<double>(request.seq_len) * (1 - ratio));
        numbers.push_back(ratio < 1 ? std::max<std::int64_t>(1, share) : 0);
    }
    return uniform_heads(numbers, request);
}

std::vector<ParameterInfo> PerLayer::parameters()
{
    return {base_parameter(), file_parameter("file", "a compression ratio for every layer, one in a line")};
}

} // namespace lava
