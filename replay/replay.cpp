#include "replay/replay.h"

#include "replay/budgets.h"
#include "replay/loss.h"
#include "replay/parallel.h"
#include "replay/retention.h"
#include "traces/error.h"
#include "traces/program.h"
#include "traces/verify.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

namespace lava {

namespace {

// A policy on its way through a replay.
struct Run
{
    PolicySpec spec;
    std::unique_ptr<Policy> policy;
    std::vector<RankedLayer> layers; // [L]
};

std::string plural(std::int64_t count, const std::string& noun)
{
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

// Why the trace cannot serve the policy; empty where it can.
std::string obstacle(const Policy& policy, const std::string& name, const TraceInfo& info)
{
    if (policy.needs_observed_attention() && !info.has_observed_attention) {
        return name
            + " needs the column sums of the prompt's attention (/layers/*/observed_attention), which the trace "
              "does not have";
    }
    if (policy.query_rows() > info.window && info.window < info.seq_len) {
        return name + " reads the last " + plural(policy.query_rows(), "query row") + ", the trace records "
            + std::to_string(info.window);
    }
    return {};
}

void check_length(const Policy& policy, const std::string& name, const TraceInfo& info)
{
    if (policy.window() >= info.seq_len) {
        throw Error(info.file + ": the prompt's " + plural(info.seq_len, "token") + " are no more than the window of "
            + std::to_string(policy.window()) + " that " + name + " keeps, so there is nothing to evict");
    }
}

std::vector<Run> make_runs(const TraceInfo& info, const ReplayOptions& options, const ReplayObserver& observer)
{
    const bool by_default = options.policies.empty();
    std::vector<Run> runs;
    for (auto& spec : by_default ? default_policies() : options.policies) {
        auto policy = spec.make();
        check_length(*policy, spec.canonical, info);
        const auto reason = obstacle(*policy, spec.canonical, info);
        if (!reason.empty() && !by_default) {
            throw Error(info.file + ": " + reason);
        }
        if (!reason.empty()) {
            observer.note("left out: " + reason);
            continue;
        }
        const auto same = [&](const Run& run) { return run.spec.canonical == spec.canonical; };
        if (std::none_of(runs.begin(), runs.end(), same)) {
            runs.push_back({spec, std::move(policy), {}});
        }
    }
    return runs;
}

std::vector<std::int64_t> make_budgets(
    const TraceInfo& info, const ReplayOptions& options, const std::vector<Run>& runs)
{
    std::int64_t reserved = 0;
    for (const auto& run : runs) {
        reserved = std::max(reserved, run.policy->reserved());
    }
    if (options.budgets.empty()) {
        return default_budgets(info.seq_len, reserved);
    }
    const auto budgets = parse_budgets(options.budgets, info.seq_len);
    for (const auto& run : runs) {
        if (budgets.front() <= run.policy->reserved() && !run.policy->fixed_total()) {
            throw Error("--budget: " + std::to_string(budgets.front()) + " leaves nothing to choose: "
                + run.spec.canonical + (run.policy->window() > 0 ? " keeps a window of " : " reserves ")
                + std::to_string(run.policy->reserved()) + "; expected more than that");
        }
    }
    return budgets;
}

// Pass 1: every policy ranks the entries of every layer.
void rank_layers(const Trace& trace, std::vector<Run>& runs, int threads, const ReplayObserver& observer)
{
    const auto& info = trace.info();
    std::int64_t query_rows = 0;
    for (auto& run : runs) {
        run.layers.resize(static_cast<std::size_t>(info.shape.num_layers));
        query_rows = std::max(query_rows, run.policy->query_rows());
    }
    parallel_tasks(info.shape.num_layers, threads, [&](std::int64_t layer) {
        const auto view = trace.layer(layer);
        const LayerInputs inputs(view, query_rows);
        for (auto& run : runs) {
            const auto scores = run.policy->score(inputs);
            auto& ranked = run.layers[static_cast<std::size_t>(layer)];
            ranked = rank_layer(scores, info.seq_len, run.policy->window());
            if (!run.policy->compares_heads()) {
                ranked.sorted = {};
            }
        }
        observer.step();
    });
}

void describe(PolicyReplay& replay, const Run& run)
{
    replay.policy = run.spec.canonical;
    replay.name = run.spec.info->name;
    replay.variant = run.spec.variant;
    replay.window = run.policy->window();
    for (const auto& parameter : run.spec.info->parameters) {
        replay.parameters.emplace_back(parameter.name, run.spec.params.text(parameter.name));
    }
}

void allocate_budgets(PolicyReplay& replay, const Run& run, const TraceInfo& info)
{
    const auto heads = info.shape.num_layers * info.shape.num_kv_heads;
    const auto window = run.policy->window();
    for (const auto budget : replay.budgets) {
        const auto allocation = run.policy->allocate(run.layers, {info.shape, info.seq_len, window, budget});
        replay.asked.push_back(run.policy->fixed_total().value_or(budget * heads));
        replay.granted.push_back(std::accumulate(allocation.granted.begin(), allocation.granted.end(), window * heads));
        for (const auto retained : allocation.retained) {
            replay.counts.push_back(window + retained);
        }
    }
}

PolicyReplay plan(Run& run, const std::vector<std::int64_t>& budgets, const TraceInfo& info)
{
    PolicyReplay replay;
    describe(replay, run);
    if (const auto total = run.policy->fixed_total()) {
        const auto heads = info.shape.num_layers * info.shape.num_kv_heads;
        // the nearest whole mean, at least 1 as any budget; asked is exact
        replay.budgets = {std::max<std::int64_t>(1, (*total + heads / 2) / heads)};
    } else {
        replay.budgets = budgets;
    }
    allocate_budgets(replay, run, info);
    for (auto& layer : run.layers) {
        replay.ranking.insert(replay.ranking.end(), layer.ranking.begin(), layer.ranking.end());
        layer = {};
    }
    return replay;
}

// Copies a layer's values [G, inner] into those of the run [G, L, inner].
template <typename T>
void place(const std::vector<T>& of_layer, std::vector<T>& of_run, std::int64_t budgets, std::int64_t layer,
    std::int64_t num_layers)
{
    const auto inner = static_cast<std::int64_t>(of_layer.size()) / budgets;
    for (std::int64_t g = 0; g < budgets; ++g) {
        std::copy_n(of_layer.begin() + g * inner, inner, of_run.begin() + (g * num_layers + layer) * inner);
    }
}

void resize_losses(PolicyReplay& replay, const TraceInfo& info)
{
    const auto steps = replay.budgets.size() * static_cast<std::size_t>(info.shape.num_layers * info.eval_len);
    for (auto* values : {&replay.head_l1, &replay.head_output_l1, &replay.head_output_l2}) {
        values->resize(steps * static_cast<std::size_t>(info.shape.num_heads));
    }
    for (auto* values :
        {&replay.attn_out_l1, &replay.attn_out_l2, &replay.bound_lava, &replay.bound_adakv, &replay.bound_projected}) {
        values->resize(steps);
    }
}

void check_bound(const char* name, const std::vector<double>& bound, const LayerLosses& losses, std::int64_t layer,
    const PolicyReplay& replay)
{
    constexpr double rounding = 1e-5;
    for (std::size_t i = 0; i < bound.size(); ++i) {
        if (!(losses.attn_out_l1[i] <= bound[i] * (1 + rounding))) {
            const auto steps = bound.size() / replay.budgets.size();
            throw Error(replay.policy + " at budget " + std::to_string(replay.budgets[i / steps]) + ", layer "
                + std::to_string(layer) + ", step " + std::to_string(i % steps) + ": the loss "
                + std::to_string(losses.attn_out_l1[i]) + " exceeds its bound " + name + " " + std::to_string(bound[i])
                + ": the replay or the trace is wrong");
        }
    }
}

void measure_policy(const LayerAttention& attention, PolicyReplay& replay, std::int64_t layer, const ModelShape& shape)
{
    const auto budgets = static_cast<std::int64_t>(replay.budgets.size());
    const auto heads = shape.num_kv_heads;
    const auto per_layer = replay.ranking.size() / static_cast<std::size_t>(shape.num_layers);
    std::vector<std::int64_t> counts; // [G, num_kv_heads]
    for (std::int64_t g = 0; g < budgets; ++g) {
        const auto begin = replay.counts.begin() + (g * shape.num_layers + layer) * heads;
        counts.insert(counts.end(), begin, begin + heads);
    }
    const auto ranking = std::span(replay.ranking).subspan(static_cast<std::size_t>(layer) * per_layer, per_layer);
    const auto losses = attention.losses(ranking, counts);
    check_bound("bound_lava", losses.bound_lava, losses, layer, replay);
    check_bound("bound_adakv", losses.bound_adakv, losses, layer, replay);
    check_bound("bound_projected", losses.bound_projected, losses, layer, replay);
    const auto layers = shape.num_layers;
    place(losses.head_l1, replay.head_l1, budgets, layer, layers);
    place(losses.head_output_l1, replay.head_output_l1, budgets, layer, layers);
    place(losses.head_output_l2, replay.head_output_l2, budgets, layer, layers);
    place(losses.attn_out_l1, replay.attn_out_l1, budgets, layer, layers);
    place(losses.attn_out_l2, replay.attn_out_l2, budgets, layer, layers);
    place(losses.bound_lava, replay.bound_lava, budgets, layer, layers);
    place(losses.bound_adakv, replay.bound_adakv, budgets, layer, layers);
    place(losses.bound_projected, replay.bound_projected, budgets, layer, layers);
}

void place_norms(const LayerNorms& of_layer, UncompressedNorms& norms, std::int64_t layer, std::int64_t layers)
{
    place(of_layer.head_output_l1, norms.head_output_l1, 1, layer, layers);
    place(of_layer.head_output_l2, norms.head_output_l2, 1, layer, layers);
    place(of_layer.attn_out_l1, norms.attn_out_l1, 1, layer, layers);
    place(of_layer.attn_out_l2, norms.attn_out_l2, 1, layer, layers);
}

double verified(const LayerView& view, const TraceInfo& info)
{
    const auto deviation = verify_layer(view).worst_step;
    const auto tolerance = verify_tolerance(info.store_type);
    if (!(deviation <= tolerance)) {
        char text[160];
        std::snprintf(text, sizeof text,
            "the attention output recomputed with the full cache deviates by %.3g of the recorded one, expected at "
            "most %.3g",
            deviation, tolerance);
        throw Error(info.file + ": layer " + std::to_string(view.layer) + ": " + text
            + ": no loss is computed from such a trace, unless --no-verify insists (lava-trace verify shows every "
              "layer)");
    }
    return deviation;
}

// Pass 2: the exact loss of every policy at every budget.
void measure_layers(
    const Trace& trace, ReplayReport& report, const ReplayOptions& options, const ReplayObserver& observer)
{
    const auto& info = trace.info();
    const auto layers = static_cast<std::size_t>(info.shape.num_layers);
    const auto steps = static_cast<std::size_t>(info.eval_len);
    const auto heads = static_cast<std::size_t>(info.shape.num_heads);
    report.norms.head_output_l1.resize(layers * heads * steps);
    report.norms.head_output_l2.resize(layers * heads * steps);
    report.norms.attn_out_l1.resize(layers * steps);
    report.norms.attn_out_l2.resize(layers * steps);
    for (auto& policy : report.policies) {
        resize_losses(policy, info);
    }
    const bool verify = options.verify && info.has_outputs;
    report.deviations.resize(verify ? layers : 0);
    parallel_tasks(info.shape.num_layers, options.threads, [&](std::int64_t layer) {
        const auto view = trace.layer(layer);
        if (verify) {
            report.deviations[static_cast<std::size_t>(layer)] = verified(view, info);
        }
        const LayerAttention attention(view);
        place_norms(attention.norms(), report.norms, layer, info.shape.num_layers);
        for (auto& policy : report.policies) {
            measure_policy(attention, policy, layer, info.shape);
        }
        observer.step();
    });
}

} // namespace

ReplayReport replay(const Trace& trace, const ReplayOptions& options, const ReplayObserver& observer)
{
    const auto& info = trace.info();
    auto runs = make_runs(info, options, observer);
    const auto budgets = make_budgets(info, options, runs);
    observer.begin((info.has_losses ? 2 : 1) * static_cast<long>(info.shape.num_layers));
    rank_layers(trace, runs, options.threads, observer);

    ReplayReport report;
    report.generator = "lava-replay " + std::string(version());
    report.trace = info;
    for (auto& run : runs) {
        report.policies.push_back(plan(run, budgets, info));
    }
    if (!info.has_losses) {
        observer.note(info.file + ": no evaluation steps or no W_O recorded: retained sets only, no losses");
        return report;
    }
    if (options.verify && !info.has_outputs) {
        observer.note(info.file + ": no attn_out recorded, so the trace cannot be verified against itself");
    }
    measure_layers(trace, report, options, observer);
    return report;
}

} // namespace lava
