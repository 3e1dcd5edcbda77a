#pragma once

#include "analysis/statistics.h"
#include "analysis/table.h"

#include <optional>
#include <span>
#include <string>

namespace lava {

/// How summary_table shows its cells.
struct SummaryRequest
{
    std::string match = {}; ///< what the cells were selected by (Filter::match)
    std::string baseline = {}; ///< a policy, as the reports spell it, that the others are compared with; empty: none
    bool by_report = false; ///< a row for every prompt, not one for all
};

/// Many prompts in one table: per policy and kept share (budget / prompt length, in percent: Shares), over the
/// reports that have the cell, the mean relative loss 3 (attn_out_l1_relative, a ratio of sums in each report), and
/// where the closed loop was run the mean KL(dense || evicted), the mean top-1 agreement with the dense run, and in how
/// many reports the answer is exact: every token of it, from the first to the one that ends it, is the most likely one
/// (`dense_exact`: of the same reports, with the whole cache; both are empty where a report cannot tell of the first
/// token). NAME_n and NAME_sd: how many reports a mean is over, and their standard deviation.
/// NAME_difference: of the policy and the baseline, on the prompts that have both, compared in the same way (`match`).
/// `rank_correlation`: Spearman's, of the mean loss 3 with the mean KL over the policies at that share that are
/// compared in the same way; empty where fewer than three of them have both and evict anything, and for a policy that
/// counts as nominal and as retained where these two differ. Reports without losses are left out of the loss.
Table summary_table(std::span<const Cell> cells, const SummaryRequest& request = {});

/// Spearman's rank correlation; ties share their mean rank. Nothing for fewer than two pairs or a constant.
std::optional<double> rank_correlation(std::span<const double> x, std::span<const double> y);

} // namespace lava
