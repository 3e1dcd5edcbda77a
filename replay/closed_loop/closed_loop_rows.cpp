#include "replay/closed_loop/closed_loop_rows.h"

#include "base/distinct.h"
#include "base/sizes.h"
#include <algorithm>
#include <numeric>
#include <optional>

namespace lava {

namespace {

using Ids = std::vector<std::int64_t>;

RetainedPrompt retained_of(const ReplayReport& report, std::size_t policy, std::size_t budget)
{
    const auto heads = report.cache_heads(policy), all_heads = report.trace.shape.num_layers * heads;
    const auto first_layer = report.ranking(policy, budget, 0); // a budget's layers lie one after the other
    return {{first_layer.data(), index(all_heads * report.trace.seq_len)},
        std::span(report.policies[policy].counts).subspan(budget * index(all_heads), index(all_heads)), heads};
}

/// Retained sets by ranking, each once, in order of appearance.
class DistinctRows
{
public:
    struct Place
    {
        std::size_t ranking;
        std::size_t set;
    };

    Place add(const RetainedPrompt& retained)
    {
        const auto ranking = rankings_.add(retained.ranking.data());
        if (ranking == of_rankings_.size())
            of_rankings_.emplace_back();
        auto& [sets, counts] = of_rankings_[ranking];
        const auto set = counts.add(Ids(retained.counts.begin(), retained.counts.end()));
        if (set == sets.size())
            sets.push_back(retained);
        return {ranking, set};
    }

    /// Appends them to `rows`, those of a ranking together; returns where each ranking's begin.
    std::vector<std::size_t> append_to(std::vector<RetainedPrompt>& rows) const
    {
        std::vector<std::size_t> first;
        for (const auto& ranking : of_rankings_) {
            first.push_back(rows.size());
            rows.insert(rows.end(), ranking.sets.begin(), ranking.sets.end());
        }
        return first;
    }

private:
    struct Ranking
    {
        std::vector<RetainedPrompt> sets;
        Distinct<Ids> counts; // of the sets
    };
    Distinct<const std::uint32_t*> rankings_;
    std::vector<Ranking> of_rankings_;
};

} // namespace

ClosedLoopRows dense_row(const TraceInfo& info, std::int64_t count)
{
    ClosedLoopRows rows;
    const auto heads = info.shape.num_layers * info.shape.num_kv_heads;
    rows.whole_prompt.resize(index(heads * info.seq_len));
    for (std::int64_t head = 0; head < heads; ++head) {
        const auto begin = rows.whole_prompt.begin() + head * info.seq_len;
        std::iota(begin, begin + info.seq_len, 0U);
    }
    rows.whole_counts.assign(index(heads), count);
    rows.retained.push_back({rows.whole_prompt, rows.whole_counts, info.shape.num_kv_heads});
    return rows;
}

ClosedLoopRows closed_loop_rows(const ReplayReport& report)
{
    auto rows = dense_row(report.trace, report.trace.seq_len);
    DistinctRows distinct;
    std::vector<std::vector<std::optional<DistinctRows::Place>>> places; // [P][G]; nothing: the dense row
    const auto is_whole = [&](std::int64_t count) { return count == report.trace.seq_len; };
    for (std::size_t p = 0; p < report.policies.size(); ++p) {
        auto& of_policy = places.emplace_back();
        for (std::size_t g = 0; g < report.policies[p].budgets.size(); ++g) {
            const auto retained = retained_of(report, p, g);
            const bool dense = std::ranges::all_of(retained.counts, is_whole);
            of_policy.push_back(dense ? std::nullopt : std::optional(distinct.add(retained)));
        }
    }
    const auto first = distinct.append_to(rows.retained);
    for (const auto& of_policy : places) {
        auto& cells = rows.of_cell.emplace_back();
        for (const auto& place : of_policy)
            cells.push_back(place ? first[place->ranking] + place->set : 0);
    }
    return rows;
}

} // namespace lava
