#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

namespace lava {

/// A policy that keeps the best `budget` entries of every head and sets no window apart.
class UniformPolicy : public Policy
{
public:
    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }
};

} // namespace lava
