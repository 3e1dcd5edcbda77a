#pragma once

#include "analysis/table.h"

#include <cstdint>
#include <span>

namespace lava {

/// One budget of a policy in a report.
struct SeriesBudget
{
    std::size_t series = 0; ///< the same for all budgets of the policy in the report
    std::int64_t budget = 0;
    std::int64_t seq_len = 0;
};

/// Brings the budgets of prompts of several lengths together by the share of the prompt that they are, in percent.
/// Where all can have been asked for in whole percents, or else in halves, these are the shares: a budget is what is
/// asked for rounded down to whole entries. Otherwise shares are rounded to whole percents, or where that would bring
/// two budgets of one series together, to the first of 0.1, 0.01, ... that does not.
class Shares
{
public:
    explicit Shares(std::span<const SeriesBudget> budgets);

    /// What budgets are brought together by: the share in steps.
    std::int64_t place(std::int64_t budget, std::int64_t seq_len) const;
    /// A place in percent: whole numbers where steps are.
    Value percent(std::int64_t place) const;

private:
    std::int64_t steps_ = 1; // in a percent
    bool asked_ = false; // all budgets are shares in these steps, rounded down to entries
};

} // namespace lava
