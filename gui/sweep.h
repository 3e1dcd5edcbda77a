#pragma once

#include "analysis/statistics.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace lava::gui {

using SharedReport = std::shared_ptr<const ReplayReport>;

/// Which heads the text is coloured by: one, those of a layer, those of one column over all layers, or all.
struct HeadChoice
{
    std::optional<std::int64_t> layer;
    std::optional<std::int64_t> kv_head;

    bool operator==(const HeadChoice&) const = default;
};

/// What the slider steps through: budgets of all policies that have several, ascending, each once. A retained set from
/// elsewhere has but one of its own, at which no other policy was replayed; it counts where there is nothing else.
std::vector<std::int64_t> budget_grid(const ReplayReport& report);

/// Index of the policy's own budget nearest to `budget`; ties go to the smaller.
std::size_t nearest_budget(const PolicyReplay& policy, std::int64_t budget);

/// The policy's replay at its budget nearest to `budget`.
Cell cell_near(const ReplayReport& report, std::size_t policy, std::int64_t budget);

/// How many of the chosen heads keep each prompt position. [seq_len]
std::vector<std::int32_t> keepers(const Cell& cell, const HeadChoice& choice);

/// How many heads `choice` stands for.
std::int64_t num_heads_chosen(const ModelShape& shape, const HeadChoice& choice);

/// The span to mark first: "needle" where there is one, else the shortest; nothing where there are none.
std::optional<std::size_t> span_to_mark(const TraceInfo& trace);

/// Throws Error where there is nothing to show: no policies, or one without budgets.
void check_shows_something(const ReplayReport& report);

} // namespace lava::gui
