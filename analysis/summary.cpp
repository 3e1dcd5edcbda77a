#include "analysis/summary.h"

#include "analysis/cell_groups.h"
#include "analysis/closed_loop_statistics.h"
#include "analysis/means.h"
#include "analysis/quantities.h"
#include "analysis/report_set.h"
#include "analysis/selection.h"
#include "analysis/shares.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lava {

namespace {

/// A quantity of each report that has it.
struct PromptSample
{
    std::vector<double> values;
    std::vector<std::string> prompts; ///< prompt_key() of each

    void add(double value, const std::string& prompt)
    {
        values.push_back(value);
        prompts.push_back(prompt);
    }
    Mean mean() const { return mean_of(values); }
};

/// A count of answers, which stands only where it is known of every one.
struct Answers
{
    std::int64_t right = 0;
    std::int64_t known = 0;
    std::int64_t unknown = 0;

    void add(std::optional<bool> is_right)
    {
        ++(is_right ? known : unknown);
        right += is_right.value_or(false) ? 1 : 0;
    }
    Value value() const { return known > 0 && unknown == 0 ? Value(right) : Value(); }
};

/// A number of a cell whose mean over prompts is shown.
struct Quantity
{
    std::string name;
    bool in_text = false; ///< whether people see deviation and difference
    std::function<std::optional<double>(const Cell&)> of;
};

std::vector<Quantity> make_quantities()
{
    std::vector<Quantity> list;
    const auto add = [&](const Display& display, std::function<std::optional<double>(const Cell&)> of) {
        if (display.summarized != Summarized::no)
            list.push_back({display.column, display.summarized == Summarized::with_spread, std::move(of)});
    };
    for (const LossColumn& column : loss_columns()) {
        add(column.display, [column](const Cell& cell) {
            const auto summary = losses(cell);
            return summary && !std::isnan(column.of(*summary)) ? std::optional(column.of(*summary)) : std::nullopt;
        });
    }
    for (const ClosedLoopColumn& column : closed_loop_measures())
        add(column.display, column.of_run);
    return list;
}

const std::vector<Quantity>& quantities()
{
    static const std::vector<Quantity> list = make_quantities();
    return list;
}

std::size_t place_of(std::string_view quantity)
{
    return static_cast<std::size_t>(std::ranges::find(quantities(), quantity, &Quantity::name) - quantities().begin());
}

struct SummaryGroup : GroupKey
{
    std::int64_t reports = 0;
    Common file, prompt, seq_len, budget, nominal;
    PromptSample retained; ///< share of all entries
    std::vector<PromptSample> samples = std::vector<PromptSample>(quantities().size()); ///< of each of quantities()
    Answers exact;
    Answers dense_exact;
};

void add(const Cell& cell, const std::string& prompt, SummaryGroup& group)
{
    const TraceInfo& trace = cell.report.trace;
    ++group.reports;
    group.file.add(cell.report.file);
    group.prompt.add(prompt_id(trace));
    group.seq_len.add(trace.seq_len);
    group.budget.add(cell.replay().budgets[cell.budget]);
    group.nominal.add(nominal_budget(cell));
    group.retained.add(retained_share(cell), prompt);
    for (std::size_t i = 0; i < quantities().size(); ++i) {
        if (const auto value = quantities()[i].of(cell))
            group.samples[i].add(*value, prompt);
    }
    if (!cell.report.closed_loop.empty()) {
        group.exact.add(exact(cell));
        group.dense_exact.add(dense_exact(cell.report));
    }
}

/// Numbers of the parts that cells belong to: by report, every report is a part of its own.
std::vector<std::size_t> parts_of(std::span<const Cell> cells, const SummaryRequest& request)
{
    std::map<const ReplayReport*, std::size_t> reports;
    std::vector<std::size_t> parts;
    for (const Cell& cell : cells)
        parts.push_back(request.by_report ? reports.try_emplace(&cell.report, reports.size()).first->second : 0);
    return parts;
}

std::vector<SummaryGroup> groups_of(std::span<const Cell> cells, const Shares& shares, const SummaryRequest& request)
{
    std::map<const ReplayReport*, std::string> prompts;
    std::vector<SummaryGroup> groups;
    for (const CellGroup& of : cell_groups(cells, shares, request.match, parts_of(cells, request))) {
        SummaryGroup& group = groups.emplace_back();
        static_cast<GroupKey&>(group) = of;
        for (const Cell* cell : of.cells) {
            const auto prompt = prompts.try_emplace(&cell->report);
            if (prompt.second)
                prompt.first->second = prompt_key(cell->report.trace);
            add(*cell, prompt.first->second, group);
        }
    }
    return groups;
}

std::vector<double> ranks(std::span<const double> values)
{
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
    std::vector<double> result(values.size());
    for (std::size_t begin = 0; begin < order.size();) {
        std::size_t end = begin + 1;
        while (end < order.size() && values[order[end]] == values[order[begin]])
            ++end;
        for (std::size_t i = begin; i < end; ++i)
            result[order[i]] = static_cast<double>(begin + end - 1) / 2;
        begin = end;
    }
    return result;
}

/// Of the policies at the group's share that are compared by `match`, each once.
std::optional<double> loss_to_kl(
    const std::vector<SummaryGroup>& groups, const SummaryGroup& of, const std::string& match)
{
    const std::size_t loss_place = place_of("attn_out_l1_relative"), kl_place = place_of("kl");
    std::vector<double> loss;
    std::vector<double> kl;
    for (const SummaryGroup& group : groups) {
        const Mean mean_loss = group.samples[loss_place].mean(), mean_kl = group.samples[kl_place].mean();
        const bool beside = group.place == of.place && group.part == of.part;
        const bool compared = group.match == match || group.match == "both";
        if (!beside || !compared || !mean_loss.value || !mean_kl.value)
            continue;
        if (*group.retained.mean().value < 1) { // what evicts nothing agrees in any case
            loss.push_back(*mean_loss.value);
            kl.push_back(*mean_kl.value);
        }
    }
    return loss.size() < 3 ? std::nullopt : rank_correlation(loss, kl);
}

std::optional<double> loss_to_kl(const std::vector<SummaryGroup>& groups, const SummaryGroup& of)
{
    if (of.match != "both")
        return loss_to_kl(groups, of, of.match);
    const auto nominal = loss_to_kl(groups, of, "nominal");
    return nominal == loss_to_kl(groups, of, "retained") ? nominal : std::nullopt;
}

/// The difference of the means over the prompts that both have.
PairedDifference difference(const PromptSample& base, const PromptSample& sample)
{
    std::map<std::string_view, double> base_values;
    for (std::size_t i = 0; i < base.values.size(); ++i)
        base_values.emplace(base.prompts[i], base.values[i]);
    std::vector<double> first, second;
    for (std::size_t i = 0; i < sample.values.size(); ++i) {
        const auto found = base_values.find(sample.prompts[i]);
        if (found == base_values.end())
            continue;
        first.push_back(found->second);
        second.push_back(sample.values[i]);
    }
    return paired_difference(first, second);
}

std::vector<Column> summary_columns(const std::vector<SummaryGroup>& groups, const SummaryRequest& request)
{
    const bool any_deviation = std::ranges::any_of(groups, [](const SummaryGroup& group) { return group.reports > 1; });
    const bool compared = !request.baseline.empty();
    std::vector<Column> columns{{"report", request.by_report}, {"prompt_id", false}, {"seq_len", false}, {"policy"},
        {"match"}, {"budget", false}, {"kept_percent"}, {"nominal", false}, {"reports", !request.by_report},
        {"retained_share"}, {"retained_share_sd", false}};
    for (const auto& [name, in_text, of] : quantities()) {
        columns.push_back({name});
        columns.push_back({name + std::string("_n"), false});
        columns.push_back({name + std::string("_sd"), in_text && any_deviation});
    }
    for (const char* name : {"exact", "dense_exact", "rank_correlation"})
        columns.push_back({name});
    columns.push_back({"baseline", false});
    for (const auto& [name, in_text, of] : quantities()) {
        columns.push_back({name + std::string("_difference"), compared && in_text});
        columns.push_back({name + std::string("_difference_n"), false});
        columns.push_back({name + std::string("_difference_low"), compared && in_text && any_deviation});
        columns.push_back({name + std::string("_difference_high"), compared && in_text && any_deviation});
    }
    return columns;
}

void append_difference(
    std::vector<Value>& row, const SummaryGroup* base, const SummaryGroup& group, std::size_t quantity)
{
    if (!base) {
        row.resize(row.size() + 4);
        return;
    }
    const PairedDifference pairs = difference(base->samples[quantity], group.samples[quantity]);
    row.insert(
        row.end(), {or_nothing(pairs.mean.value), pairs.mean.count, or_nothing(pairs.low), or_nothing(pairs.high)});
}

std::vector<Value> summary_row(const std::vector<SummaryGroup>& groups, const SummaryGroup& group, const Shares& shares,
    const SummaryRequest& request)
{
    const Mean kept = group.retained.mean();
    std::vector<Value> row{group.file.value(), group.prompt.value(), group.seq_len.value(), group.policy, group.match,
        group.budget.value(), shares.percent(group.place), group.nominal.value(), group.reports, or_nothing(kept.value),
        or_nothing(kept.deviation)};
    for (const PromptSample& sample : group.samples) {
        const Mean mean = sample.mean();
        row.insert(row.end(), {or_nothing(mean.value), mean.count, or_nothing(mean.deviation)});
    }
    row.insert(row.end(), {group.exact.value(), group.dense_exact.value(), or_nothing(loss_to_kl(groups, group))});
    const SummaryGroup* base = baseline_of(groups, group, request.baseline);
    row.push_back(base ? Value(base->policy) : Value());
    for (std::size_t i = 0; i < quantities().size(); ++i)
        append_difference(row, base, group, i);
    return row;
}

} // namespace

std::optional<double> rank_correlation(std::span<const double> x, std::span<const double> y)
{
    const std::vector<double> a = ranks(x);
    const std::vector<double> b = ranks(y);
    const double mean = (static_cast<double>(a.size()) - 1) / 2; // the mean of any ranks, ties or not
    double product = 0, square_a = 0, square_b = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        product += (a[i] - mean) * (b[i] - mean);
        square_a += (a[i] - mean) * (a[i] - mean);
        square_b += (b[i] - mean) * (b[i] - mean);
    }
    if (square_a == 0 || square_b == 0)
        return std::nullopt;
    return product / std::sqrt(square_a * square_b);
}

Table summary_table(std::span<const Cell> cells, const SummaryRequest& request)
{
    const Shares shares = shares_of(cells);
    const std::vector<SummaryGroup> groups = groups_of(cells, shares, request);
    Table table{summary_columns(groups, request), {}};
    for (const SummaryGroup& group : groups)
        table.rows.push_back(summary_row(groups, group, shares, request));
    return table;
}

} // namespace lava
