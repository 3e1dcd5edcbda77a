#include "analysis/cell_groups.h"

#include "analysis/report_set.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace lava {

namespace {

/// What a cell counts as: a budget that is the one at equal retention already is both.
std::vector<std::string> matches_of(const Cell& cell, const std::string& wanted)
{
    if (cell.replay().match != "both")
        return {cell.replay().match};
    return wanted.empty() ? std::vector<std::string>{"nominal", "retained"} : std::vector{wanted};
}

bool is_both(const CellGroup& group)
{
    return std::ranges::all_of(group.cells, [](const Cell* cell) { return cell->replay().match == "both"; });
}

} // namespace

double retained_share(const Cell& cell)
{
    const TraceInfo& trace = cell.report.trace;
    const auto all = static_cast<double>(trace.seq_len * trace.shape.num_layers * cell.cache_heads());
    return static_cast<double>(retained(cell)) / all;
}

Shares shares_of(std::span<const Cell> cells)
{
    std::map<const ReplayReport*, std::string> prompts;
    std::map<std::tuple<std::string, std::string, std::string>, std::size_t> series; // prompt, policy, match
    std::vector<SeriesBudget> budgets;
    for (const Cell& cell : cells) {
        const auto [prompt, is_new] = prompts.try_emplace(&cell.report);
        if (is_new)
            prompt->second = prompt_key(cell.report.trace);
        const PolicyReplay& replay = cell.replay();
        budgets.push_back(
            {series.try_emplace({prompt->second, replay.policy, replay.match}, series.size()).first->second,
                replay.budgets[cell.budget], cell.report.trace.seq_len});
    }
    return Shares(budgets);
}

std::vector<CellGroup> cell_groups(
    std::span<const Cell> cells, const Shares& shares, const std::string& match, std::span<const std::size_t> parts)
{
    std::map<std::tuple<std::size_t, std::string, std::string, std::int64_t>, std::size_t> places;
    std::vector<CellGroup> groups;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const Cell& cell = cells[i];
        const PolicyReplay& replay = cell.replay();
        const std::size_t part = parts.empty() ? 0 : parts[i];
        const std::int64_t share = shares.place(replay.budgets[cell.budget], cell.report.trace.seq_len);
        for (const std::string& counted : matches_of(cell, match)) {
            const auto [place, is_new] = places.try_emplace({part, replay.policy, counted, share}, groups.size());
            if (is_new)
                groups.push_back({{replay.policy, counted, share, part}, {}});
            groups[place->second].cells.push_back(&cell);
        }
    }
    if (match.empty()) {
        std::erase_if(groups, [](const CellGroup& group) { return group.match == "retained" && is_both(group); });
        for (CellGroup& group : groups)
            group.match = is_both(group) ? "both" : group.match;
    }
    std::ranges::stable_sort(groups, {}, &GroupKey::place);
    return groups;
}

} // namespace lava
