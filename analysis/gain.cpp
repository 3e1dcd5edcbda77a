#include "analysis/gain.h"

#include "traces/error.h"
#include "traces/recorded_part.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace lava {

namespace {

/// Means over reports, as sums so far.
struct Sums
{
    double base_loss = 0;
    double other_loss = 0;
    double base_retained = 0;
    double other_retained = 0;
    std::int64_t reports = 0;
};

struct Key
{
    std::int64_t budget = 0;
    std::int64_t layer = 0;

    auto operator<=>(const Key&) const = default;
};

/// The policy's cells in one report by budget.
std::map<std::int64_t, Cell> cells_by_budget(
    std::span<const ReplayReport> report, const std::string& policy, const std::string& match)
{
    std::map<std::int64_t, Cell> cells;
    std::set<std::string> names;
    for (const Cell& cell : select_cells(report, {{policy}, {}, match})) {
        names.insert(cell.replay().policy);
        cells.emplace(cell.replay().budgets[cell.budget], cell);
    }
    if (names.size() > 1)
        throw Error(report.front().file + ": '" + policy + "' names several policies; expected one: " + *names.begin()
            + ", " + *std::next(names.begin()));
    return cells;
}

std::vector<std::int64_t> layers_of(const ReplayReport& report, std::vector<std::int64_t> layers)
{
    const std::int64_t count = report.trace.shape.num_layers;
    if (layers.empty())
        layers = {0, -1};
    for (std::int64_t& layer : layers) {
        const auto asked = layer;
        for (layer = asked < 0 ? asked + count : 0; asked >= 0 && layer < count;) {
            if (layer_number(report.trace, layer) == asked)
                break;
            ++layer;
        }
        if (layer < 0 || layer >= count)
            throw Error(report.file + ": --layer: expected -" + std::to_string(count) + " to "
                + std::to_string(layer_number(report.trace, count - 1)) + ", found " + std::to_string(asked));
    }
    return layers;
}

void add_report(std::span<const ReplayReport> report, const std::string& base, const std::string& other,
    const std::string& match, const std::vector<std::int64_t>& layers, std::map<Key, Sums>& sums)
{
    const auto others = cells_by_budget(report, other, match);
    for (const auto& [budget, base_cell] : cells_by_budget(report, base, match)) {
        const auto found = others.find(budget);
        if (found == others.end())
            continue;
        for (const std::int64_t layer : layers_of(report.front(), layers)) {
            const auto base_losses = losses(base_cell, layer);
            const auto other_losses = losses(found->second, layer);
            if (!base_losses || !other_losses)
                continue;
            Sums& sum = sums[{budget, layer_number(report.front().trace, layer)}];
            sum.base_loss += base_losses->attn_out_l1;
            sum.other_loss += other_losses->attn_out_l1;
            sum.base_retained += static_cast<double>(retained(base_cell));
            sum.other_retained += static_cast<double>(retained(found->second));
            ++sum.reports;
        }
    }
}

} // namespace

Table gain_table(std::span<const ReplayReport> reports, const std::string& base, const std::string& other,
    std::span<const std::int64_t> budgets, std::vector<std::int64_t> layers)
{
    Table table;
    for (const char* name : {"match", "budget", "layer", "reports", "retained_base", "retained_other",
             "attn_out_l1_base", "attn_out_l1_other", "gain"})
        table.columns.push_back({name});
    for (const char* match : {"nominal", "retained"}) {
        std::map<Key, Sums> sums;
        for (std::size_t i = 0; i < reports.size(); ++i)
            add_report(reports.subspan(i, 1), base, other, match, layers, sums);
        for (const auto& [key, sum] : sums) {
            if (!budgets.empty() && std::ranges::count(budgets, key.budget) == 0)
                continue;
            const auto count = static_cast<double>(sum.reports);
            table.rows.push_back({std::string(match), key.budget, key.layer, sum.reports, sum.base_retained / count,
                sum.other_retained / count, sum.base_loss / count, sum.other_loss / count,
                sum.base_loss > 0 ? Value(1 - sum.other_loss / sum.base_loss) : Value()});
        }
    }
    if (table.rows.empty())
        throw Error("gain: no report has losses of both " + base + " and " + other + " at a budget that was asked for");
    return table;
}

} // namespace lava
