#include "analysis/summary.h"

#include "analysis/closed_loop_statistics.h"
#include "analysis/selection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

namespace lava {

namespace {

/// A mean as a sum so far.
struct Mean
{
    double sum = 0;
    std::int64_t count = 0;

    void add(double value)
    {
        sum += value;
        ++count;
    }
    std::optional<double> value() const
    {
        return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
    }
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

struct Group
{
    std::string policy;
    std::string match;
    std::int64_t percent = 0;
    std::int64_t reports = 0;
    std::int64_t shared = 0; ///< of them, those in which the budget is the one at equal retention
    Mean retained; ///< share of all entries
    Mean loss;
    Mean kl;
    Mean agreement;
    Answers exact = {};
    Answers dense_exact = {};
};

void add_closed_loop(const Cell& cell, Group& group)
{
    if (cell.report.closed_loop.empty())
        return;
    if (const auto summary = closed_loop(cell)) {
        group.kl.add(summary->kl);
        group.agreement.add(summary->top1_agreement);
    }
    group.exact.add(exact(cell));
    group.dense_exact.add(dense_exact(cell.report));
}

void add(const Cell& cell, Group& group)
{
    const TraceInfo& trace = cell.report.trace;
    const auto all = static_cast<double>(trace.seq_len * trace.shape.num_layers * cell.cache_heads());
    ++group.reports;
    group.shared += cell.replay().match == "both" ? 1 : 0;
    group.retained.add(static_cast<double>(retained(cell)) / all);
    if (const auto summary = losses(cell))
        group.loss.add(summary->attn_out_l1_relative);
    add_closed_loop(cell, group);
}

/// What a cell counts as: a budget that is the one at equal retention already is both.
std::vector<std::string> matches_of(const Cell& cell, const std::string& wanted)
{
    if (cell.replay().match != "both")
        return {cell.replay().match};
    return wanted.empty() ? std::vector<std::string>{"nominal", "retained"} : std::vector{wanted};
}

/// In order of share, then of first appearance. Where nominal and equal retention are the same throughout, one group.
std::vector<Group> groups_of(std::span<const Cell> cells, const std::string& wanted)
{
    std::map<std::tuple<std::string, std::string, std::int64_t>, std::size_t> places;
    std::vector<Group> groups;
    for (const Cell& cell : cells) {
        const std::string& policy = cell.replay().policy;
        const std::int64_t percent = kept_percent(cell);
        for (const std::string& match : matches_of(cell, wanted)) {
            const auto [place, is_new] = places.try_emplace({policy, match, percent}, groups.size());
            if (is_new)
                groups.push_back(Group{policy, match, percent, 0, 0, {}, {}, {}, {}, {}, {}});
            add(cell, groups[place->second]);
        }
    }
    std::erase_if(groups, [&](const Group& group) {
        return wanted.empty() && group.match == "retained" && group.shared == group.reports;
    });
    for (Group& group : groups)
        group.match = wanted.empty() && group.shared == group.reports ? "both" : group.match;
    std::ranges::stable_sort(groups, {}, &Group::percent);
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

std::optional<double> loss_to_kl(const std::vector<Group>& groups, std::int64_t percent)
{
    std::vector<double> loss;
    std::vector<double> kl;
    for (const Group& group : groups) {
        const bool evicts = *group.retained.value() < 1; // what evicts nothing agrees in any case
        if (evicts && group.percent == percent && group.loss.count > 0 && group.kl.count > 0) {
            loss.push_back(*group.loss.value());
            kl.push_back(*group.kl.value());
        }
    }
    return loss.size() < 3 ? std::nullopt : rank_correlation(loss, kl);
}

Value or_nothing(const std::optional<double>& value)
{
    return value ? Value(*value) : Value();
}

} // namespace

std::optional<double> rank_correlation(std::span<const double> x, std::span<const double> y)
{
    const std::vector<double> a = ranks(x);
    const std::vector<double> b = ranks(y);
    const double mean = (static_cast<double>(a.size()) - 1) / 2; // of any ranks, ties or not
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

Table summary_table(std::span<const Cell> cells, const std::string& match)
{
    const std::vector<Group> groups = groups_of(cells, match);
    Table table;
    for (const char* name : {"policy", "match", "kept_percent", "reports", "retained_share", "attn_out_l1_relative",
             "kl", "top1_agreement", "exact", "dense_exact", "rank_correlation"})
        table.columns.push_back({name});
    std::map<std::int64_t, std::optional<double>> correlations; // by percent
    for (const Group& group : groups)
        if (!correlations.contains(group.percent))
            correlations[group.percent] = loss_to_kl(groups, group.percent);
    for (const Group& group : groups) {
        table.rows.push_back({group.policy, group.match, group.percent, group.reports, *group.retained.value(),
            or_nothing(group.loss.value()), or_nothing(group.kl.value()), or_nothing(group.agreement.value()),
            group.exact.value(), group.dense_exact.value(), or_nothing(correlations.at(group.percent))});
    }
    return table;
}

} // namespace lava
