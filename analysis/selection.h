#pragma once

#include "analysis/budgets.h"
#include "analysis/statistics.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

/// A policy as it is written on a command line: NAME[@VARIANT][:KEY=VALUE,...].
struct PolicySpelling
{
    std::string name;
    std::string variant;
    std::vector<std::pair<std::string, std::string>> parameters;
};

/// Where the first of comma-separated assignments ends: at a comma outside brackets; npos for the last.
std::size_t assignment_end(std::string_view assignments);

/// base=[snapkv:window=16] names its policy without the brackets.
std::string_view without_brackets(std::string_view value);

/// Blanks around the parts do not matter; a parameter `file` takes the rest of the text. Throws UsageError.
PolicySpelling parse_policy_spelling(std::string_view text);

/// How well a spelling names a policy of a report.
enum class Match
{
    none,
    contained, ///< what is given agrees, but the policy differs from its defaults in more than that
    same ///< in any order, defaults spelt out or not
};

Match match(const PolicySpelling& spelling, const PolicyReplay& replay);

/// What to look at; an empty list stands for everything.
struct Filter
{
    std::vector<std::string> policies; ///< spellings
    std::vector<BudgetItem> budgets;
    std::string match
        = {}; ///< "nominal" or "retained": budgets as given to the rules, or at equal retention; empty: both
};

/// Whether a replay is one of those compared by `wanted`: what retains what is asked is both.
bool compared_as(const PolicyReplay& replay, std::string_view wanted);

/// The policies of a report that are compared by `wanted` ("nominal" or "retained"), without their twins; one that was
/// replayed in one way only stays.
ReplayReport compared_at(ReplayReport report, std::string_view wanted);

/// The policy that a spelling names in the reports, in its own spelling. Throws Error where it names none or several.
std::string policy_named(std::span<const ReplayReport> reports, const std::string& spelling);

/// Where a report has these layers of the model, in their order, each once; negative numbers count from the last one.
/// Throws Error naming one that it does not have.
std::vector<std::int64_t> layer_places(const ReplayReport& report, std::span<const std::int64_t> layers);

/// Every policy at every budget, in the report's order.
std::vector<Cell> all_cells(const ReplayReport& report);

/// The cells that pass, in the order of the reports. A spelling selects what it names exactly, or else what it is
/// contained in; a budget in percent or as a ratio stands for another number in prompts of another length. Throws Error
/// for a policy or budget that no report has, naming those they have.
std::vector<Cell> select_cells(std::span<const ReplayReport> reports, const Filter& filter);

} // namespace lava
