#pragma once

#include "replay/policies/compose.h"

namespace lava {

/// KeyDiff (Park et al. 2025, arXiv:2504.15364; kvpress's KeyDiffPress): keys unlike the mean key stay. With a block,
/// as the paper does it (kvpress's BlockPress): the first `budget` tokens, then each block of the next ones competes
/// with what was kept so far, by the mean of these alone.
class KeyDiff : public Composed
{
public:
    explicit KeyDiff(const PolicyParams& params)
        : Composed(params)
        , block_(params.integer("block"))
    { }

    bool ranks_by_budget() const override { return block_ > 0; }
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;

private:
    std::int64_t block_;
};

} // namespace lava
