#pragma once

#include "gui/pictures.h"

#include "analysis/budgets.h"

#include <span>
#include <string>
#include <vector>

namespace lava::gui {

/// Which scores are drawn.
struct ScoreChoice
{
    std::vector<std::string> policies; ///< spellings; empty: all
    std::optional<BudgetItem> budget; ///< at which needles and wins are drawn; nothing: the middle one of all
    std::string match = "retained"; ///< policies at equal retention, or "nominal"; one replayed in one way only stays
    std::string baseline; ///< a spelling: the policy that the others are compared with; empty: none
};

/// The scores of the reports' answers: for every task, and all of a benchmark, against the budget (score_TASK), and
/// with a baseline how many prompts each policy wins at one budget (wins_TASK_P25); of needles a map of lengths and
/// depths for the whole cache and for each policy at that budget (needle_POLICY_P25). Throws Error naming a report that
/// cannot be scored, or two that may not stand in one table.
std::vector<Picture> score_pictures(std::vector<ReplayReport> reports, const ScoreChoice& choice);

} // namespace lava::gui
