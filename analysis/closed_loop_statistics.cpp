#include "analysis/closed_loop_statistics.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>

namespace lava {

namespace {

/// The cell's part of an array [G, ...].
template <typename T> std::span<const T> of_cell(const Cell& cell, const std::vector<T>& values)
{
    const auto size = values.size() / cell.replay().budgets.size();
    return std::span(values).subspan(cell.budget * size, size);
}

template <typename Values> double total(const Values& values)
{
    return std::accumulate(values.begin(), values.end(), 0.0);
}

template <typename Values> double mean(const Values& values)
{
    return total(values) / static_cast<double>(values.size());
}

/// Of a layer of an array [L, S].
template <typename Values> auto of_layer(const Values& values, std::int64_t layer, std::int64_t steps)
{
    return std::span(values).subspan(static_cast<std::size_t>(layer * steps), static_cast<std::size_t>(steps));
}

std::string text_of(std::span<const std::int64_t> ids, const ClosedLoopDense& dense)
{
    std::string text;
    for (const auto id : ids) {
        if (std::ranges::find(dense.end_ids, id) != dense.end_ids.end())
            break;
        const auto found = std::ranges::lower_bound(dense.token_ids, id);
        const bool known = !dense.token_texts.empty() && found != dense.token_ids.end() && *found == id;
        text += known ? dense.token_texts[static_cast<std::size_t>(found - dense.token_ids.begin())]
                      : "[" + std::to_string(id) + "]";
    }
    return text;
}

} // namespace

std::optional<ClosedLoopSummary> closed_loop(const Cell& cell)
{
    const auto& dense = cell.report.closed_loop;
    if (dense.empty())
        return std::nullopt;
    const auto& replay = cell.replay().closed_loop;
    ClosedLoopSummary summary;
    summary.kl = mean(of_cell(cell, replay.kl));
    if (!replay.cross_entropy.empty())
        summary.cross_entropy = mean(of_cell(cell, replay.cross_entropy));
    const auto top_ids = of_cell(cell, replay.top_ids);
    const auto agreeing = std::inner_product(
        top_ids.begin(), top_ids.end(), dense.top_ids.begin(), 0, std::plus<>(), std::equal_to<>());
    summary.top1_agreement = agreeing / static_cast<double>(top_ids.size());
    summary.drift_l1_relative = total(of_cell(cell, replay.drift_l1)) / total(dense.resid_l1);
    summary.drift_l2_relative = total(of_cell(cell, replay.drift_l2)) / total(dense.resid_l2);
    return summary;
}

std::optional<LayerDrift> drift(const Cell& cell, std::int64_t layer)
{
    const auto& dense = cell.report.closed_loop;
    if (dense.empty())
        return std::nullopt;
    const auto relative = [&](const std::vector<float>& values, const std::vector<double>& norms) {
        return total(of_layer(of_cell(cell, values), layer, dense.steps()))
            / total(of_layer(norms, layer, dense.steps()));
    };
    const auto& replay = cell.replay().closed_loop;
    return LayerDrift{relative(replay.drift_l1, dense.resid_l1), relative(replay.drift_l2, dense.resid_l2)};
}

std::optional<std::string> answer(const Cell& cell)
{
    const auto& ids = cell.replay().closed_loop.generated_ids;
    if (ids.empty())
        return std::nullopt;
    return text_of(of_cell(cell, ids), cell.report.closed_loop);
}

std::optional<std::string> dense_answer(const ReplayReport& report)
{
    const auto& ids = report.closed_loop.generated_ids;
    if (ids.empty())
        return std::nullopt;
    return text_of(ids, report.closed_loop);
}

} // namespace lava
