#pragma once

#include "replay/policy.h"

namespace lava {

/// DefensiveKV's scores (FFY0/DefensiveKV), before and after the stage that depends on the budget.
struct DefensiveRule
{
    std::int64_t window = 32;
    std::int64_t kernel = 5; ///< of the average pooling
    double threshold = 0.9; ///< attention mass that the first stage collects
    /// What is taken off the threshold: the mean mass on the window, as meant, or on as many columns before it, which
    /// is what the released code reads after it has cut the window's columns off.
    bool bias_of_window = false;

    /// Entries [num_kv_heads, seq_len] by the second stage alone, the window's at the layer's maximum: every query's
    /// attention over the prefix is pooled and rescaled to the mass that it had; the maximum over group and window, at
    /// least the head's mean; times the projected value norm as a share of all KV heads'. Parts: what at_budget reads.
    LayerScores score(const LayerInputs& layer) const;

    /// The first stage: the entries that collect the threshold of the head's mean attention over the prefix, all but
    /// the one that reaches it and at most int(prefix * kept share - window), are set to the layer's maximum. A
    /// negative limit counts from the end, as it does in the released code.
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const;
};

} // namespace lava
