#pragma once

#include "analysis/npy.h"
#include "replay/policy.h"

#include <string>

namespace lava {

/// What share of each head to evict when p percent of the cache are to go, p = 1 to 99 (LU-KV): a .npy of
/// [99, num_layers, num_kv_heads].
class BudgetCurves
{
public:
    /// Throws Error naming the file, expected and found.
    explicit BudgetCurves(std::string file);

    /// Entries of each head at the curve's point nearest to the request, in kvpress 0.5.5's fp32 steps: the whole
    /// parts of (1 - share) N, the layer's rounded total made up by the heads with the largest fractions, at least 1
    /// and at most N each; all where nothing is to be evicted. Throws Error where the file is another model's.
    Allocation allocate(const BudgetRequest& request) const;

private:
    std::string file_;
    NpyArray curves_;
};

} // namespace lava
