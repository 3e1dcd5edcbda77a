#include "analysis/closed_loop_statistics.h"

#include "base/formatted.h"

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

/// The answer's steps of a layer of an array [L, S].
template <typename Values> auto of_layer(const Values& values, std::int64_t layer, const ReplayReport& report)
{
    const auto first = static_cast<std::size_t>(layer * report.closed_loop.steps());
    return std::span(values).subspan(first, static_cast<std::size_t>(answer_steps(report)));
}

/// Over the answer's steps of all layers of an array [L, S].
template <typename Values> double total_of_layers(const Values& values, const ReplayReport& report)
{
    double sum = 0;
    for (std::int64_t layer = 0; layer < report.trace.shape.num_layers; ++layer)
        for (const double value : of_layer(values, layer, report))
            sum += value;
    return sum;
}

bool ends_answer(const ClosedLoopDense& dense, std::int64_t id)
{
    return std::ranges::find(dense.end_ids, id) != dense.end_ids.end();
}

/// The answer among the steps' inputs, the token that ends it included. Behind a reference, the inputs are what the
/// dense run goes on to say.
std::span<const std::int64_t> answer_ids(const ReplayReport& report)
{
    std::span<const std::int64_t> ids = report.closed_loop.input_ids;
    if (report.trace.continuation == "reference")
        ids = ids.first(std::min(ids.size(), static_cast<std::size_t>(report.trace.eval_len)));
    const auto end = std::ranges::find_first_of(ids, report.closed_loop.end_ids);
    return end == ids.end() ? ids : ids.first(static_cast<std::size_t>(end - ids.begin()) + 1);
}

/// Whether the answer follows from the prompt and `top_ids`, the most likely token after each step.
std::optional<bool> follows(std::span<const std::int64_t> top_ids, const ReplayReport& report)
{
    const auto ids = answer_ids(report);
    const auto first = next_id(report);
    if (ids.empty() || !first)
        return std::nullopt;
    return ids.front() == *first && std::equal(ids.begin() + 1, ids.end(), top_ids.begin());
}

std::string text_of(std::span<const std::int64_t> ids, const ClosedLoopDense& dense)
{
    std::string text;
    for (const auto id : ids) {
        if (id < 0 || ends_answer(dense, id))
            break;
        const auto found = std::ranges::lower_bound(dense.token_ids, id);
        const bool known = !dense.token_texts.empty() && found != dense.token_ids.end() && *found == id;
        text += known ? dense.token_texts[static_cast<std::size_t>(found - dense.token_ids.begin())]
                      : formatted("[{}]", id);
    }
    return text;
}

} // namespace

std::int64_t answer_steps(const ReplayReport& report)
{
    const auto ids = answer_ids(report);
    const bool ended = !ids.empty() && ends_answer(report.closed_loop, ids.back());
    return std::ssize(ids) - (ended ? 1 : 0);
}

std::optional<ClosedLoopSummary> closed_loop(const Cell& cell)
{
    const auto& dense = cell.report.closed_loop;
    const auto steps = static_cast<std::size_t>(answer_steps(cell.report));
    if (steps == 0)
        return std::nullopt;
    const auto& replay = cell.replay().closed_loop;
    ClosedLoopSummary summary;
    summary.kl = mean(of_cell(cell, replay.kl).first(steps));
    if (const auto predicted = answer_ids(cell.report).size() - 1; predicted > 0 && !replay.cross_entropy.empty())
        summary.cross_entropy = mean(of_cell(cell, replay.cross_entropy).first(predicted));
    const auto top_ids = of_cell(cell, replay.top_ids).first(steps);
    const auto agreeing = std::inner_product(
        top_ids.begin(), top_ids.end(), dense.top_ids.begin(), 0, std::plus<>(), std::equal_to<>());
    summary.top1_agreement = agreeing / static_cast<double>(top_ids.size());
    summary.drift_l1_relative
        = total_of_layers(of_cell(cell, replay.drift_l1), cell.report) / total_of_layers(dense.resid_l1, cell.report);
    summary.drift_l2_relative
        = total_of_layers(of_cell(cell, replay.drift_l2), cell.report) / total_of_layers(dense.resid_l2, cell.report);
    return summary;
}

std::string closed_loop_text(const ReplayReport& report)
{
    if (report.closed_loop.empty())
        return "";
    const auto all = report.closed_loop.steps(), counted = answer_steps(report);
    return formatted(", closed loop over {}{} steps",
        counted < all ? formatted("the answer's {} of ", counted) : std::string(), all);
}

std::optional<double> kl_of_all_steps(const Cell& cell)
{
    if (cell.report.closed_loop.empty())
        return std::nullopt;
    return mean(of_cell(cell, cell.replay().closed_loop.kl));
}

std::optional<std::int64_t> next_id(const ReplayReport& report)
{
    const auto& dense = report.closed_loop;
    if (dense.next_id >= 0)
        return dense.next_id;
    if (!dense.generated_ids.empty())
        return dense.generated_ids.front();
    if (report.trace.continuation == "greedy" && !dense.empty())
        return dense.input_ids.front();
    return std::nullopt;
}

std::optional<bool> exact(const Cell& cell)
{
    return follows(of_cell(cell, cell.replay().closed_loop.top_ids), cell.report);
}

std::optional<bool> dense_exact(const ReplayReport& report)
{
    return follows(report.closed_loop.top_ids, report);
}

std::optional<LayerDrift> drift(const Cell& cell, std::int64_t layer)
{
    const auto& dense = cell.report.closed_loop;
    if (answer_steps(cell.report) == 0)
        return std::nullopt;
    const auto relative = [&](const std::vector<float>& values, const std::vector<double>& norms) {
        return total(of_layer(of_cell(cell, values), layer, cell.report)) / total(of_layer(norms, layer, cell.report));
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

std::optional<bool> same_as_dense(const Cell& cell)
{
    const auto& dense = cell.report.closed_loop;
    const auto& ids = dense.generated_ids;
    if (ids.size() < 2 || ids[1] < 0 || ends_answer(dense, ids.front()))
        return std::nullopt;
    return answer(cell) == dense_answer(cell.report);
}

} // namespace lava
