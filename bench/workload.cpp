#include "bench/workload.h"

#include "base/error.h"
#include "compute/parallel.h"
#include "replay/policies/registry.h"
#include "replay/retention.h"
#include "traces/synthesize.h"
#include "traces/trace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace lava::bench {

namespace {

constexpr std::array<const char*, max_policies> names{"lava", "snapkv", "streaming-llm", "h2o", "ada-snapkv",
    "pyramidkv", "vatp", "ada-pyramidkv", "cake", "lava@official", "lava-uniform", "lava-nohead"};
constexpr std::int64_t query_rows = 32;
constexpr std::int64_t least_budget = 65; // above every window and sink

at::Tensor last_tokens(const at::Tensor& x, std::int64_t count) // along dimension 1
{
    return x.defined() ? x.narrow(1, x.size(1) - count, count).contiguous() : x;
}

std::vector<std::vector<std::int64_t>> divide_budgets(
    const Policy& policy, const std::vector<RankedLayer>& ranked, const Workload& workload)
{
    const auto& first = workload.layers.front();
    auto shape = first.shape;
    shape.num_layers = static_cast<std::int64_t>(workload.layers.size());
    std::vector<std::vector<std::int64_t>> counts(workload.layers.size());
    for (std::int64_t g = 0; g < workload.budgets; ++g) {
        const auto budget = even_budget(first.seq_len, g, workload.budgets);
        const auto allocation = policy.allocate(ranked, {shape, first.seq_len, policy.window(), budget});
        for (std::size_t i = 0; i < allocation.retained.size(); ++i) {
            counts[i / static_cast<std::size_t>(shape.num_kv_heads)].push_back(
                policy.window() + allocation.retained[i]);
        }
    }
    return counts;
}

} // namespace

std::span<const char* const> policy_names()
{
    return names;
}

std::int64_t even_budget(std::int64_t seq_len, std::int64_t g, std::int64_t budgets)
{
    return least_budget + (seq_len - least_budget) * g / budgets;
}

std::int64_t Workload::product_rows(std::size_t policy, std::size_t layer) const
{
    const auto& of_layer = counts[policy][layer];
    const auto heads = static_cast<std::ptrdiff_t>(layers[layer].shape.num_kv_heads);
    std::set<std::vector<std::int64_t>> sets;
    for (auto set = of_layer.begin(); set != of_layer.end(); set += heads) {
        sets.emplace(set, set + heads);
    }
    return static_cast<std::int64_t>(sets.size()) * layers[layer].eval_len;
}

std::vector<LayerView> trace_layers(const std::string& file, std::int64_t layers)
{
    const Trace trace(file);
    if (!trace.info().has_losses || !trace.info().has_observed_attention) {
        throw Error(file + ": expected a trace with evaluation steps, W_O and column sums");
    }
    std::vector<LayerView> views;
    for (std::int64_t layer = 0; layer < std::min(layers, trace.info().shape.num_layers); ++layer) {
        views.push_back(trace.layer(layer));
    }
    return views;
}

std::vector<LayerView> synthetic_layers(const ModelShape& shape, std::int64_t seq_len, std::int64_t steps)
{
    SynthesisOptions options;
    options.shape = shape;
    options.seq_len = seq_len;
    options.eval_len = steps;
    std::vector<LayerView> views;
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
        views.push_back(synthesize_layer(options, layer));
    }
    return views;
}

LayerView shortened(const LayerView& layer, std::int64_t seq_len, std::int64_t steps)
{
    auto view = layer;
    view.seq_len = seq_len;
    view.eval_len = steps;
    for (auto* tensor : {&view.k, &view.v, &view.observed_attention, &view.observed_attention_off_diagonal}) {
        *tensor = last_tokens(*tensor, seq_len);
    }
    for (auto* tensor : {&view.q_eval, &view.k_eval, &view.v_eval}) {
        *tensor = tensor->narrow(1, 0, steps).contiguous();
    }
    return view;
}

Workload make_workload(std::vector<LayerView> layers, std::int64_t policies, std::int64_t budgets, int threads)
{
    Workload workload;
    workload.layers = std::move(layers);
    workload.budgets = budgets;
    for (std::int64_t p = 0; p < policies; ++p) {
        const auto policy = parse_policy(names.at(static_cast<std::size_t>(p))).make();
        std::vector<RankedLayer> ranked(workload.layers.size());
        parallel_items(static_cast<std::int64_t>(ranked.size()), threads, [&](std::int64_t layer) {
            const auto& view = workload.layers[static_cast<std::size_t>(layer)];
            auto& of_layer = ranked[static_cast<std::size_t>(layer)];
            of_layer = rank_layer(policy->score(LayerInputs(view, query_rows)), view.seq_len, policy->window());
            merge_heads(of_layer);
        });
        workload.policies.emplace_back(names.at(static_cast<std::size_t>(p)));
        workload.counts.push_back(divide_budgets(*policy, ranked, workload));
        auto& rankings = workload.rankings.emplace_back();
        for (auto& layer : ranked) {
            rankings.push_back(std::move(layer.ranking));
        }
    }
    return workload;
}

} // namespace lava::bench
