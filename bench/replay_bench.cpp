// Open-loop losses of many policies at many budgets: one pass over the trace against one naive evaluation per cell,
// timed in turn on the same layers. Scoring and file reading are in neither.

#include "replay/budgets.h"
#include "replay/loss.h"
#include "replay/parallel.h"
#include "replay/reference_loss.h"
#include "replay/registry.h"
#include "replay/retention.h"
#include "traces/error.h"
#include "traces/program.h"
#include "traces/synthesize.h"
#include "traces/trace.h"

#include <ATen/ATen.h>
#include <boost/program_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <sstream>

namespace {

using namespace lava;
namespace po = boost::program_options;

struct Options
{
    std::string trace; // empty: a synthetic layer
    std::int64_t layers = 2;
    std::int64_t budgets = 12;
    int runs = 1;
    int threads = 1;
    std::string help;
};

Options parse_options(int argc, char** argv)
{
    Options options;
    po::options_description visible("Options");
    auto add = visible.add_options();
    add("trace", po::value(&options.trace)->value_name("FILE"),
        "trace whose first layers to use (default: synthetic layers of SmolLM2's shape, 3788 tokens)");
    add("layers", po::value(&options.layers)->default_value(options.layers), "layers timed");
    add("budgets", po::value(&options.budgets)->default_value(options.budgets), "budgets, evenly spaced");
    add("runs", po::value(&options.runs)->default_value(options.runs), "runs of each; medians are printed");
    add("threads", po::value(&options.threads)->default_value(default_threads()), "threads of both");
    add("help", "print this and exit");
    po::variables_map values;
    try {
        po::store(po::parse_command_line(argc, argv, visible), values);
        po::notify(values);
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    if (options.layers < 1 || options.budgets < 1 || options.runs < 1 || options.threads < 1) {
        throw UsageError("--layers, --budgets, --runs and --threads must be at least 1");
    }
    if (values.contains("help")) {
        std::ostringstream text;
        text << "Usage: lava-bench [options]\nTimes exact losses of every policy at many budgets. One pass against "
                "one naive "
                "float64 evaluation per cell.\n\n"
             << visible;
        options.help = text.str();
    }
    return options;
}

std::vector<LayerView> load_layers(const Options& options)
{
    std::vector<LayerView> layers;
    if (options.trace.empty()) {
        SynthesisOptions synthesis;
        synthesis.shape
            = {.num_layers = options.layers, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .hidden_size = 576};
        synthesis.seq_len = 3788;
        for (std::int64_t layer = 0; layer < options.layers; ++layer) {
            layers.push_back(synthesize_layer(synthesis, layer));
        }
        return layers;
    }
    const Trace trace(options.trace);
    if (!trace.info().has_losses || !trace.info().has_observed_attention) {
        throw Error(options.trace + ": expected a trace with evaluation steps, W_O and column sums");
    }
    for (std::int64_t layer = 0; layer < std::min(options.layers, trace.info().shape.num_layers); ++layer) {
        layers.push_back(trace.layer(layer));
    }
    return layers;
}

// A layer's rankings by every policy, and the head counts at every budget.
struct Plan
{
    std::vector<std::vector<std::uint32_t>> rankings; // [P]
    std::vector<std::vector<std::int64_t>> counts; // [P], each [G, num_kv_heads]
};

Plan make_plan(const LayerView& layer, std::int64_t num_budgets)
{
    Plan plan;
    const LayerInputs inputs(layer, std::min<std::int64_t>(layer.window, 32));
    for (const auto& spec : default_policies()) {
        const auto policy = spec.make();
        const std::vector ranked{rank_layer(policy->score(inputs), layer.seq_len, policy->window())};
        auto shape = layer.shape;
        shape.num_layers = 1; // each layer by itself
        auto& counts = plan.counts.emplace_back();
        const auto least = std::max<std::int64_t>(policy->reserved() + 1, 64);
        for (std::int64_t g = 0; g < num_budgets; ++g) {
            const auto budget = least + (layer.seq_len - least) * g / num_budgets;
            const auto allocation = policy->allocate(ranked, {shape, layer.seq_len, policy->window(), budget});
            for (const auto retained : allocation.retained) {
                counts.push_back(policy->window() + retained);
            }
        }
        plan.rankings.push_back(ranked.front().ranking);
    }
    return plan;
}

double one_pass(const LayerView& layer, const Plan& plan)
{
    const LayerAttention attention(layer);
    double sum = 0;
    for (std::size_t p = 0; p < plan.rankings.size(); ++p) {
        const auto losses = attention.losses(plan.rankings[p], plan.counts[p]);
        for (const auto loss : losses.attn_out_l1) {
            sum += loss;
        }
    }
    return sum;
}

double naive(const LayerView& layer, const Plan& plan)
{
    const auto heads = layer.shape.num_kv_heads;
    double sum = 0;
    for (std::size_t p = 0; p < plan.rankings.size(); ++p) {
        for (std::size_t begin = 0; begin < plan.counts[p].size(); begin += static_cast<std::size_t>(heads)) {
            auto kept = at::zeros({heads, layer.seq_len}, at::kBool);
            for (std::int64_t head = 0; head < heads; ++head) {
                for (std::int64_t i = 0; i < plan.counts[p][begin + static_cast<std::size_t>(head)]; ++i) {
                    kept.data_ptr<bool>()[head * layer.seq_len
                        + plan.rankings[p][static_cast<std::size_t>(head * layer.seq_len + i)]]
                        = true;
                }
            }
            for (const auto loss : reference_losses(layer, kept).attn_out_l1) {
                sum += loss;
            }
        }
    }
    return sum;
}

using Evaluation = double (*)(const LayerView&, const Plan&);

struct Timing
{
    double seconds = 0;
    double sum = 0; // of all losses: what both must agree on
};

Timing time_once(Evaluation evaluate, const std::vector<LayerView>& layers, const std::vector<Plan>& plans, int threads)
{
    std::vector<double> sums(layers.size());
    const auto begin = std::chrono::steady_clock::now();
    parallel_tasks(static_cast<std::int64_t>(layers.size()), threads, [&](std::int64_t i) {
        const auto index = static_cast<std::size_t>(i);
        sums[index] = evaluate(layers[index], plans[index]);
    });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    double sum = 0;
    for (const auto layer_sum : sums) {
        sum += layer_sum;
    }
    return {elapsed.count(), sum};
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

int run(int argc, char** argv)
{
    const auto options = parse_options(argc, argv);
    if (!options.help.empty()) {
        std::cout << options.help;
        return 0;
    }
    const auto layers = load_layers(options);
    std::vector<Plan> plans;
    for (const auto& layer : layers) {
        plans.push_back(make_plan(layer, options.budgets));
    }
    std::vector<double> fast;
    std::vector<double> slow;
    Timing one;
    Timing each;
    for (int i = 0; i < options.runs; ++i) {
        one = time_once(one_pass, layers, plans, options.threads);
        each = time_once(naive, layers, plans, options.threads);
        fast.push_back(one.seconds);
        slow.push_back(each.seconds);
    }
    const auto& layer = layers.front();
    std::printf("%zu layers, %lld tokens, %lld steps, %zu policies x %lld budgets, %d threads; medians of %d\n",
        layers.size(), static_cast<long long>(layer.seq_len), static_cast<long long>(layer.eval_len),
        plans.front().rankings.size(), static_cast<long long>(options.budgets), options.threads, options.runs);
    std::printf("one pass for all budgets                                 %9.3f s\n", median(fast));
    std::printf("naive: attention, losses and bounds per cell, in float64 %9.3f s\n", median(slow));
    std::printf("naive / one pass                                         %9.1f\n", median(slow) / median(fast));
    std::printf("relative difference of the summed losses  %.1e\n", std::abs(one.sum - each.sum) / each.sum);
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    return lava::run_program("lava-bench", [&] { return run(argc, argv); });
}
