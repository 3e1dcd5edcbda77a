#pragma once

#include "gui/score_pictures.h"

#include <filesystem>
#include <vector>

namespace lava::gui {

/// Writes into `folder` (made where missing), each as PNG, SVG, PDF and CSV: loss_vs_budget, survival_vs_budget where
/// the trace has a span to mark, and at one budget of the grid (its middle unless given) budget_map_POLICY_B.. and
/// layer_budgets_POLICY_B.. of every policy, or of the one given. All of them appear, or none. Returns how many files.
/// Throws Error; UsageError where one would be written over one of `inputs`.
std::size_t export_report(const SharedReport& report, const std::filesystem::path& folder,
    std::optional<std::size_t> policy = {}, std::optional<std::int64_t> budget = {},
    const std::vector<std::filesystem::path>& inputs = {});

/// The same of score_pictures(). Throws Error also where there is nothing to draw.
std::size_t export_scores(std::vector<ReplayReport> reports, const ScoreChoice& choice,
    const std::filesystem::path& folder, const std::vector<std::filesystem::path>& inputs = {});

} // namespace lava::gui
