#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/compose.h"

#include <algorithm>

namespace lava {

/// Keys of small norm as KVCache-Factory's L2NormCluster has them: the first two layers are left whole, which is not
/// counted against the budget; keys are repeated for every query head.
class KnormBehindTwoLayers : public Composed
{
public:
    using Composed::Composed;

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
