#pragma once

#include "analysis/budgets.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lava::gui {

/// What the command line asks for.
struct Options
{
    std::filesystem::path report; ///< empty: start with an empty window
    std::vector<std::filesystem::path> reports; ///< several, whose scores are exported; empty: `report` alone, or none
    std::filesystem::path screenshot; ///< empty: none
    std::filesystem::path export_folder; ///< empty: none
    std::optional<std::string> policy, tab, measure;
    std::vector<std::string> policies; ///< of several reports
    std::string baseline; ///< of several reports: the policy that the others are compared with; empty: none
    std::optional<BudgetItem> budget;
    std::optional<std::int64_t> layer, kv_head;
    std::string match = "retained"; ///< policies at equal retention, or "nominal": as their rules were given
    bool show_help = false;
    bool show_version = false;

    bool is_headless() const { return !screenshot.empty() || !export_folder.empty(); }
};

/// Throws UsageError.
Options parse_options(int argc, char** argv);

std::string help_text();

} // namespace lava::gui
