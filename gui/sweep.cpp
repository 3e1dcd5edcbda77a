#include "gui/sweep.h"

#include "base/error.h"

#include <algorithm>

namespace lava::gui {

std::vector<std::int64_t> budget_grid(const ReplayReport& report)
{
    const auto has_several = [](const PolicyReplay& policy) { return policy.budgets.size() > 1; };
    const bool any_has_several = std::any_of(report.policies.begin(), report.policies.end(), has_several);
    std::vector<std::int64_t> grid;
    for (const auto& policy : report.policies)
        if (has_several(policy) || !any_has_several)
            grid.insert(grid.end(), policy.budgets.begin(), policy.budgets.end());
    std::sort(grid.begin(), grid.end());
    grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
    return grid;
}

std::size_t nearest_budget(const PolicyReplay& policy, std::int64_t budget)
{
    const auto nearer
        = [budget](std::int64_t a, std::int64_t b) { return std::abs(a - budget) < std::abs(b - budget); };
    const auto found = std::min_element(policy.budgets.begin(), policy.budgets.end(), nearer);
    return static_cast<std::size_t>(found - policy.budgets.begin());
}

Cell cell_near(const ReplayReport& report, std::size_t policy, std::int64_t budget)
{
    return {report, policy, nearest_budget(report.policies[policy], budget)};
}

std::vector<std::int32_t> keepers(const Cell& cell, const HeadChoice& choice)
{
    const auto shape = cell.shape();
    std::vector<std::int32_t> result(static_cast<std::size_t>(cell.report.trace.seq_len));
    const auto layers = choice.layer ? *choice.layer + 1 : shape.num_layers;
    const auto heads = choice.kv_head ? *choice.kv_head + 1 : shape.num_kv_heads;
    for (auto layer = choice.layer.value_or(0); layer < layers; ++layer)
        for (auto head = choice.kv_head.value_or(0); head < heads; ++head)
            for (const auto position : kept_positions(cell, {layer, head}))
                ++result[static_cast<std::size_t>(position)];
    return result;
}

std::int64_t num_heads_chosen(const ModelShape& shape, const HeadChoice& choice)
{
    return (choice.layer ? 1 : shape.num_layers) * (choice.kv_head ? 1 : shape.num_kv_heads);
}

std::optional<std::size_t> span_to_mark(const TraceInfo& trace)
{
    if (trace.spans.empty())
        return std::nullopt;
    const auto before = [](const Span& a, const Span& b) {
        const bool a_is_needle = a.name == "needle", b_is_needle = b.name == "needle";
        return a_is_needle != b_is_needle ? a_is_needle : a.end - a.begin < b.end - b.begin;
    };
    return static_cast<std::size_t>(
        std::min_element(trace.spans.begin(), trace.spans.end(), before) - trace.spans.begin());
}

void check_shows_something(const ReplayReport& report)
{
    if (report.policies.empty())
        throw Error(report.file + ": expected at least one policy, found none");
    for (const auto& policy : report.policies)
        if (policy.budgets.empty())
            throw Error(report.file + ": " + policy.policy + ": expected at least one budget, found none");
    for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
        if (!report.has_ranking(policy)) {
            throw Error(report.file
                + ": the report says not which entries stay (--no-rankings), which the window shows; lava-analyze "
                  "shows "
                  "its numbers");
        }
    }
}

} // namespace lava::gui
