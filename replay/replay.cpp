#include "replay/replay.h"

#include "analysis/quantities.h"
#include "base/error.h"
#include "base/program.h"
#include "compute/parallel.h"
#include "replay/layer_stream.h"
#include "replay/losses/changed_values.h"
#include "replay/losses/loss.h"
#include "replay/plan.h"
#include "traces/verify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace lava {

namespace {

void resize_losses(PolicyReplay& replay, const TraceInfo& info, bool with_model, bool changes_values)
{
    const auto grid = static_cast<std::int64_t>(replay.budgets.size());
    for_each_loss([&](const auto& loss) {
        const bool of_values_as_they_were = loss.is_bound() || loss.needs == Needs::model;
        const bool is_there = (loss.needs != Needs::model || with_model) && !(of_values_as_they_were && changes_values);
        const auto size = is_there ? count_of(loss_shape({grid}, loss.extent, info)) : 0;
        (replay.*loss.array).resize(static_cast<std::size_t>(size));
    });
}

void check_bound(const char* name, const std::vector<double>& bound, const LayerLosses& losses, std::int64_t layer,
    const PolicyReplay& replay, std::int64_t first)
{
    constexpr double rounding = 1e-5;
    for (std::size_t i = 0; i < bound.size(); ++i) {
        if (!(losses.attn_out_l1[i] <= bound[i] * (1 + rounding))) {
            const auto steps
                = replay.attn_out_l1.size() / replay.counts.size() * static_cast<std::size_t>(replay.cache_heads);
            const auto budget = replay.budgets[static_cast<std::size_t>(first) + i / steps];
            throw Error(replay.policy + " at budget " + std::to_string(budget) + ", layer " + std::to_string(layer)
                + ", step " + std::to_string(i % steps) + ": the loss " + std::to_string(losses.attn_out_l1[i])
                + " exceeds its bound " + name + " " + std::to_string(bound[i]) + ": the replay or the trace is wrong");
        }
    }
}

// A layer's losses at `budgets` budgets from the first on into those of the run.
void place_losses(const LayerLosses& losses, PolicyReplay& replay, std::int64_t first, std::int64_t budgets,
    std::int64_t layer, std::int64_t layers)
{
    const auto put = [&](const auto& of_layer, auto& of_run) {
        const auto inner = static_cast<std::int64_t>(of_layer.size()) / budgets;
        for (std::int64_t g = 0; g < budgets; ++g) {
            std::copy_n(of_layer.begin() + g * inner, inner, of_run.begin() + ((first + g) * layers + layer) * inner);
        }
    };
    for_each_loss([&](const auto& loss) { put(losses.*loss.array, replay.*loss.array); });
}

// The losses at `budgets` budgets from the first on, whose sets are prefixes of one ranking.
void measure_budgets(const LayerAttention& attention, ReplayReport& report, std::size_t policy, std::int64_t first,
    std::int64_t budgets, std::int64_t layer)
{
    auto& replay = report.policies[policy];
    const auto layers = report.trace.shape.num_layers;
    const auto heads = replay.cache_heads;
    std::vector<std::int64_t> counts; // [budgets, heads]
    for (auto g = first; g < first + budgets; ++g) {
        const auto begin = replay.counts.begin() + (g * layers + layer) * heads;
        counts.insert(counts.end(), begin, begin + heads);
    }
    const auto losses = attention.losses(report.ranking(policy, static_cast<std::size_t>(first), layer), counts);
    for (const auto& loss : layer_loss_rows()) {
        if (loss.is_bound()) {
            check_bound(loss.name, losses.*loss.array, losses, layer, replay, first);
        }
    }
    place_losses(losses, replay, first, budgets, layer, layers);
}

void measure_policy(const LayerAttention& attention, ReplayReport& report, std::size_t policy, std::int64_t layer)
{
    const auto budgets = static_cast<std::int64_t>(report.policies[policy].budgets.size());
    if (!report.ranks_by_budget(policy)) {
        measure_budgets(attention, report, policy, 0, budgets, layer);
        return;
    }
    for (std::int64_t g = 0; g < budgets; ++g) {
        measure_budgets(attention, report, policy, g, 1, layer);
    }
}

void place_norms(const LayerNorms& of_layer, UncompressedNorms& norms, std::int64_t layer)
{
    const auto put = [layer](const auto& values, auto& of_run) {
        std::copy(values.begin(), values.end(), of_run.begin() + layer * static_cast<std::int64_t>(values.size()));
    };
    for_each_loss([&](const auto& loss) { put(of_layer.*loss.array, norms.*loss.array); });
}

double verified(const LayerView& view, const TraceInfo& info)
{
    const auto deviation = verify_layer(view);
    if (const auto fault = fault_of(deviation, check_identities(view, info)); !fault.empty())
        throw Error(info.file + ": layer " + std::to_string(view.layer) + ": " + fault
            + ": no loss is computed from such a trace, unless --no-verify insists (lava-trace verify shows every "
              "layer)");
    return deviation.worst_step;
}

// A layer's rankings are not needed soon again: their memory may be given back.
void leave_rankings(const ReplayReport& report, std::int64_t layer)
{
    for (const auto& policy : report.policies) {
        const auto layers = static_cast<std::size_t>(report.trace.shape.num_layers);
        const auto size = static_cast<std::size_t>(policy.cache_heads * report.trace.seq_len);
        for (auto first = static_cast<std::size_t>(layer) * size; first < policy.ranking.size();
             first += layers * size) {
            leave_memory(policy.ranking, first, size);
        }
    }
}

// A layer's losses of every policy at every budget; `threads` share the work over heads, then over policies.
void measure_layer(const LayerView& view, ReplayReport& report, const ChangingPolicies& changing, const Decoder* model,
    int threads, const Device& device)
{
    const auto& shape = report.trace.shape;
    const LayerAttention attention(view, threads, model, device);
    place_norms(attention.norms(), report.norms, view.layer);
    const bool expand = std::any_of(report.policies.begin(), report.policies.end(),
        [&](const PolicyReplay& policy) { return policy.cache_heads != shape.num_kv_heads; });
    const auto expanded_view = expand ? per_query_head(view) : LayerView();
    const auto expanded = expand ? std::make_unique<LayerAttention>(expanded_view, threads, model, device) : nullptr;
    parallel_items(static_cast<std::int64_t>(report.policies.size()), threads, [&](std::int64_t index) {
        const auto policy = static_cast<std::size_t>(index);
        if (changing.contains(policy)) {
            return;
        }
        const bool by_query_head = report.policies[policy].cache_heads != shape.num_kv_heads;
        measure_policy(by_query_head ? *expanded : attention, report, policy, view.layer);
    });
    changing.measure(view, threads, report);
    leave_rankings(report, view.layer);
}

void resize_results(ReplayReport& report, const ChangingPolicies& changing, bool verify, const Decoder* model)
{
    const auto& info = report.trace;
    report.deviations.resize(verify ? static_cast<std::size_t>(info.shape.num_layers) : 0);
    for_each_loss([&](const auto& loss) {
        const bool is_there = loss.has_norm() && (loss.needs != Needs::model || model != nullptr);
        const auto size = is_there ? count_of(loss_shape({}, loss.extent, info)) : 0;
        (report.norms.*loss.array).resize(static_cast<std::size_t>(size));
    });
    for (std::size_t i = 0; i < report.policies.size(); ++i) {
        resize_losses(report.policies[i], info, model != nullptr, changing.contains(i));
    }
}

// Pass 2: the exact loss of every policy at every budget.
void measure_layers(const Trace& trace, std::span<const Run> runs, ReplayReport& report, const ReplayOptions& options,
    const ReplayObserver& observer)
{
    const auto& info = trace.info();
    const bool verify = options.verify && info.has_outputs;
    const auto* model = info.has_layer_outputs ? options.model : nullptr;
    const ChangingPolicies changing(runs, report);
    resize_results(report, changing, verify, model);
    for_each_layer(trace, options.threads, [&](const LayerView& view, int threads) {
        if (verify) {
            report.deviations[static_cast<std::size_t>(view.layer)] = verified(view, info);
        }
        measure_layer(view, report, changing, model, threads, options.device);
        observer.step();
    });
}

} // namespace

ReplayReport replay(const Trace& trace, const ReplayOptions& options, const ReplayObserver& observer)
{
    const auto& info = trace.info();
    auto runs = make_runs(info, options, observer);
    make_budgets(info, options, runs, observer);
    observer.begin((info.has_losses ? 2 : 1) * static_cast<long>(info.shape.num_layers));
    rank_layers(trace, runs, options, observer);

    ReplayReport report;
    report.generator = "lava-replay " + std::string(version());
    report.trace = info;
    for (auto& run : runs) {
        add_plans(report, run, options.match);
    }
    if (!info.has_losses) {
        observer.note(info.file + ": no evaluation steps or no W_O recorded: retained sets only, no losses");
        return report;
    }
    if (options.verify && !info.has_outputs) {
        observer.note(info.file + ": no attn_out recorded, so the trace cannot be verified against itself");
    }
    if (options.model != nullptr && !info.has_layer_outputs) {
        observer.note(info.file + ": no resid_mid or mlp_out recorded, so layer outputs are not compared");
    }
    measure_layers(trace, runs, report, options, observer);
    return report;
}

} // namespace lava
