#pragma once

#include "analysis/selection.h"
#include "analysis/table.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lava {

/// What gain_table sets against each other.
struct GainRequest
{
    std::string base;
    std::string other;
    std::vector<BudgetItem> budgets = {}; ///< empty: all that both have
    std::vector<std::int64_t> layers = {}; ///< negative ones count from the last; empty: first and last
    bool by_report = false; ///< a row for every prompt, not one for all
};

/// How much less loss 3 (layer attention output loss, absolute L1) one policy leaves than another, after table 14 of
/// the LAVa paper: at equal nominal budgets and at equal retention, per budget and layer, the means over the reports
/// that have both, and gain = 1 - other / base. `attn_out_l1_difference`: other - base, prompt by prompt. Budgets of
/// prompts of several lengths are brought together by their share of the prompt (Shares).
/// Throws Error where a policy is unknown or names several, a layer does not exist, or no report has losses of both.
Table gain_table(std::span<const ReplayReport> reports, const GainRequest& request);

/// Columns of gain_table().
std::vector<Column> gain_columns(std::span<const ReplayReport> reports, bool by_report);

} // namespace lava
