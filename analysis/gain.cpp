#include "analysis/gain.h"

#include "analysis/means.h"
#include "analysis/report_set.h"
#include "analysis/shares.h"
#include "base/error.h"
#include "traces/recorded_part.h"

#include <algorithm>
#include <map>
#include <optional>

namespace lava {

namespace {

/// The two policies at one budget of one report.
struct Pair
{
    const ReplayReport* report = nullptr;
    std::int64_t budget = 0;
    Cell base;
    Cell other;
};

struct Key
{
    std::int64_t place = 0; ///< the budget, or its share's
    std::int64_t layer = 0;
    std::size_t report = 0; ///< by report: which; else 0

    auto operator<=>(const Key&) const = default;
};

/// What is averaged in a row, a number of each report.
struct GainRow
{
    const ReplayReport* report = nullptr;
    std::vector<double> base_loss, other_loss, base_retained, other_retained;
};

/// The policy's cells in one report by budget.
std::map<std::int64_t, Cell> cells_by_budget(
    std::span<const ReplayReport> report, const std::string& policy, const std::string& match)
{
    policy_named(report, policy); // or a budget would be one policy's or another's
    std::map<std::int64_t, Cell> cells;
    for (const Cell& cell : select_cells(report, {{policy}, {}, match}))
        cells.emplace(cell.replay().budgets[cell.budget], cell);
    return cells;
}

/// Leaves the budgets that `items` name; all where there are none.
void keep_named(std::map<std::int64_t, Cell>& cells, const std::vector<BudgetItem>& items)
{
    std::vector<std::int64_t> known;
    for (const auto& [budget, cell] : cells)
        known.push_back(budget);
    std::erase_if(cells, [&](const auto& budget) {
        return !items.empty() && std::ranges::none_of(items, [&](const BudgetItem& item) {
            const auto named = budgets_named(item, known, budget.second.report.trace.seq_len);
            return std::ranges::count(named, budget.first) > 0;
        });
    });
}

std::vector<Pair> pairs_of(std::span<const ReplayReport> reports, const GainRequest& request, const std::string& match)
{
    std::vector<Pair> pairs;
    for (std::size_t i = 0; i < reports.size(); ++i) {
        const auto report = reports.subspan(i, 1);
        const auto others = cells_by_budget(report, request.other, match);
        auto bases = cells_by_budget(report, request.base, match);
        keep_named(bases, request.budgets);
        for (const auto& [budget, base] : bases) {
            const auto found = others.find(budget);
            if (found != others.end() && base.report.has_losses())
                pairs.push_back({&reports[i], budget, base, found->second});
        }
    }
    return pairs;
}

Shares shares_of(std::span<const ReplayReport> reports, const std::vector<Pair>& pairs)
{
    std::vector<SeriesBudget> budgets;
    for (const Pair& pair : pairs)
        budgets.push_back(
            {static_cast<std::size_t>(pair.report - reports.data()), pair.budget, pair.report->trace.seq_len});
    return Shares(budgets);
}

bool of_one_length(std::span<const ReplayReport> reports)
{
    return std::ranges::all_of(
        reports, [&](const ReplayReport& report) { return report.trace.seq_len == reports.front().trace.seq_len; });
}

std::vector<Value> gain_row(const std::string& match, const Key& key, const GainRow& row, const Shares& shares,
    const GainRequest& request, bool by_share)
{
    const Mean base = mean_of(row.base_loss);
    const Mean other = mean_of(row.other_loss);
    const PairedDifference pairs = paired_difference(row.base_loss, row.other_loss);
    const TraceInfo& trace = row.report->trace;
    const bool is_one = request.by_report || base.count == 1;
    const Value percent = shares.percent(by_share ? key.place : shares.place(key.place, trace.seq_len));
    return {is_one ? Value(row.report->file) : Value(), is_one ? Value(prompt_id(trace)) : Value(),
        is_one || !by_share ? Value(trace.seq_len) : Value(), match, by_share ? Value() : Value(key.place), percent,
        key.layer, base.count, or_nothing(mean_of(row.base_retained).value),
        or_nothing(mean_of(row.other_retained).value), or_nothing(base.value), or_nothing(base.deviation),
        or_nothing(other.value), or_nothing(other.deviation),
        *base.value > 0 ? Value(1 - *other.value / *base.value) : Value(), or_nothing(pairs.mean.value),
        or_nothing(pairs.low), or_nothing(pairs.high)};
}

/// The rows of one way of comparison, in order of budget, layer and report.
std::map<Key, GainRow> rows_of(std::span<const ReplayReport> reports, const std::vector<Pair>& pairs,
    const Shares& shares, const GainRequest& request)
{
    const bool by_share = !of_one_length(reports);
    std::map<Key, GainRow> rows;
    for (const Pair& pair : pairs) {
        const TraceInfo& trace = pair.report->trace;
        const auto number = static_cast<std::size_t>(pair.report - reports.data());
        const std::vector<std::int64_t> layers
            = request.layers.empty() ? std::vector<std::int64_t>{layer_number(trace, 0), -1} : request.layers;
        for (const std::int64_t layer : layer_places(*pair.report, layers)) {
            GainRow& row = rows[{by_share ? shares.place(pair.budget, trace.seq_len) : pair.budget,
                layer_number(trace, layer), request.by_report ? number : 0}];
            row.report = pair.report;
            row.base_loss.push_back(losses(pair.base, layer)->attn_out_l1);
            row.other_loss.push_back(losses(pair.other, layer)->attn_out_l1);
            row.base_retained.push_back(static_cast<double>(retained(pair.base)));
            row.other_retained.push_back(static_cast<double>(retained(pair.other)));
        }
    }
    return rows;
}

} // namespace

std::vector<Column> gain_columns(std::span<const ReplayReport> reports, bool by_report)
{
    const bool by_share = !of_one_length(reports);
    const bool averaged = !by_report && reports.size() > 1;
    return {{"report", by_report}, {"prompt_id", false}, {"seq_len", false}, {"match"}, {"budget", !by_share},
        {"kept_percent", by_share}, {"layer"}, {"reports", !by_report}, {"retained_base"}, {"retained_other"},
        {"attn_out_l1_base"}, {"attn_out_l1_base_sd", averaged}, {"attn_out_l1_other"},
        {"attn_out_l1_other_sd", averaged}, {"gain"}, {"attn_out_l1_difference", averaged},
        {"attn_out_l1_difference_low", averaged}, {"attn_out_l1_difference_high", averaged}};
}

Table gain_table(std::span<const ReplayReport> reports, const GainRequest& request)
{
    Table table{gain_columns(reports, request.by_report), {}};
    for (const char* match : {"nominal", "retained"}) {
        const std::vector<Pair> pairs = pairs_of(reports, request, match);
        const Shares shares = shares_of(reports, pairs);
        for (const auto& [key, row] : rows_of(reports, pairs, shares, request))
            table.rows.push_back(gain_row(match, key, row, shares, request, !of_one_length(reports)));
    }
    if (table.rows.empty())
        throw Error("gain: no report has losses of both " + request.base + " and " + request.other
            + " at a budget that was asked for");
    return table;
}

} // namespace lava
