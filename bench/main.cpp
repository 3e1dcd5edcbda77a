// What the replay costs, as ratios measured in one run: what is compared runs in turn on the same data.

#include "base/error.h"
#include "base/program.h"
#include "bench/floor.h"
#include "bench/lava_score.h"
#include "bench/open_loop.h"
#include "bench/options.h"
#include "bench/workload.h"
#include "compute/cpu/arithmetic.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace lava::bench {
namespace {

using Json = nlohmann::ordered_json;

const ModelShape smollm2{.num_layers = 30, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .hidden_size = 576};
const ModelShape llama3{.num_layers = 32, .num_heads = 32, .num_kv_heads = 8, .head_dim = 128, .hidden_size = 4096};

std::vector<LayerView> load_layers(const Options& options)
{
    if (!options.trace.empty()) {
        return trace_layers(options.trace, options.layers);
    }
    auto shape = options.shape == "smollm2" ? smollm2 : llama3;
    shape.num_layers = options.layers;
    return synthetic_layers(shape, options.tokens, options.steps);
}

Json describe(const Options& options, const Workload& workload)
{
    const auto& layer = workload.layers.front();
    return {{"instruction_set", arithmetic().name}, {"threads", options.threads},
        {"clock", options.clock == Clock::wall ? "wall" : "cpu"}, {"runs", options.runs},
        {"layers", workload.layers.size()}, {"tokens", layer.seq_len}, {"steps", layer.eval_len},
        {"query_heads", layer.shape.num_heads}, {"kv_heads", layer.shape.num_kv_heads},
        {"head_dim", layer.shape.head_dim}, {"policies", workload.policies}, {"budgets", workload.budgets}};
}

// The pass, and in turn with it the products it cannot do without.
Json open_loop(const Options& options, const Workload& workload)
{
    std::vector<double> pass;
    std::vector<std::vector<FloorProduct>> floors;
    for (int run = 0; run < options.runs; ++run) {
        pass.push_back(seconds_of(options.clock, [&] { one_pass(workload, options.threads); }));
        floors.push_back(time_floor(workload, options.threads, options.clock));
    }
    auto products = floors.front();
    Json parts = Json::array();
    for (std::size_t i = 0; i < products.size(); ++i) {
        const auto median_of = [&](double FloorProduct::*member) {
            std::vector<double> values;
            std::transform(floors.begin(), floors.end(), std::back_inserter(values),
                [&](const auto& floor) { return floor[i].*member; });
            return median(values);
        };
        products[i].mkl_seconds = median_of(&FloorProduct::mkl_seconds);
        products[i].onednn_seconds = median_of(&FloorProduct::onednn_seconds);
        parts.push_back({{"product", products[i].name}, {"gflop", products[i].flops * 1e-9},
            {"at_mm_s", products[i].mkl_seconds}, {"onednn_s", products[i].onednn_seconds}});
    }
    const auto floor = floor_seconds(products);
    return {{"one_pass_s", median(pass)}, {"floor_s", floor}, {"ratio", median(pass) / floor}, {"floor", parts}};
}

Json naive(const Options& options, const Workload& workload, double pass_seconds)
{
    double naive_sum = 0;
    std::vector<double> seconds;
    for (int run = 0; run < std::min(options.runs, 3); ++run) {
        seconds.push_back(seconds_of(
            options.clock, [&] { naive_sum = naive_cells(workload, options.naive_cells, options.threads); }));
    }
    const auto cells = static_cast<double>(workload.policies.size() * workload.layers.size())
        * static_cast<double>(workload.budgets);
    const auto whole = median(seconds) / static_cast<double>(options.naive_cells) * cells;
    const auto sum = same_cells(workload, options.naive_cells);
    return {{"cells", options.naive_cells}, {"scaled_to_cells", cells}, {"naive_s", whole},
        {"ratio", whole / pass_seconds}, {"relative_difference", std::abs(sum - naive_sum) / naive_sum}};
}

struct Sizes
{
    std::int64_t layers, tokens, steps, policies, budgets;
};

double pass_seconds(const Options& options, const std::vector<LayerView>& all, const Sizes& sizes)
{
    std::vector<LayerView> layers;
    for (std::int64_t i = 0; i < sizes.layers; ++i) {
        layers.push_back(shortened(all[static_cast<std::size_t>(i)], sizes.tokens, sizes.steps));
    }
    const auto workload = make_workload(std::move(layers), sizes.policies, sizes.budgets, options.threads);
    std::vector<double> seconds;
    for (int run = 0; run < options.runs; ++run) {
        seconds.push_back(seconds_of(options.clock, [&] { one_pass(workload, options.threads); }));
    }
    return median(seconds);
}

Json growth(const Options& options, const Workload& workload)
{
    const auto& layer = workload.layers.front();
    const Sizes whole{static_cast<std::int64_t>(workload.layers.size()), layer.seq_len, layer.eval_len,
        static_cast<std::int64_t>(workload.policies.size()), workload.budgets};
    const std::pair<const char*, std::int64_t Sizes::*> dimensions[]
        = {{"layers", &Sizes::layers}, {"tokens", &Sizes::tokens}, {"steps", &Sizes::steps},
            {"policies", &Sizes::policies}, {"budgets", &Sizes::budgets}};
    Json rows = Json::array();
    for (const auto& [name, member] : dimensions) {
        double before = 0;
        for (const std::int64_t divisor : {8, 4, 2, 1}) {
            auto sizes = whole;
            sizes.*member = std::max<std::int64_t>(1, whole.*member / divisor);
            const auto seconds = pass_seconds(options, workload.layers, sizes);
            rows.push_back({{"of", name}, {"size", sizes.*member}, {"one_pass_s", seconds},
                {"times", before > 0 ? Json(seconds / before) : Json()}});
            before = seconds;
        }
    }
    return rows;
}

Json lava_score(const Options& options)
{
    auto shape = llama3;
    shape.num_layers = 1;
    shape.hidden_size = 0; // no W_O: scoring does not read it
    const auto layer = synthetic_layers(shape, options.score_tokens, 0).front();
    const auto budget = options.score_tokens / 16;
    at::set_num_threads(options.threads);
    const c10::InferenceMode inference;
    std::vector<double> ours;
    std::vector<double> plain;
    at::Tensor kept;
    at::Tensor kept_plainly;
    for (int run = 0; run < options.runs; ++run) {
        ours.push_back(seconds_of(options.clock, [&] { kept = lava_selection(layer, budget, options.threads); }));
        plain.push_back(seconds_of(options.clock, [&] { kept_plainly = plain_selection(layer, budget); }));
    }
    return {{"tokens", options.score_tokens}, {"budget", budget}, {"lava_s", median(ours)},
        {"plain_libtorch_s", median(plain)}, {"ratio", median(plain) / median(ours)},
        {"kept_entries", kept.sum().item<std::int64_t>()},
        {"kept_differently", (kept != kept_plainly).sum().item<std::int64_t>()}};
}

void print(const Json& result)
{
    const auto& setup = result["setup"];
    std::printf("%d layers, %d tokens, %d steps, %zu policies x %d budgets; %s kernels, %d threads; medians of %d, %s "
                "clock\n",
        setup["layers"].get<int>(), setup["tokens"].get<int>(), setup["steps"].get<int>(), setup["policies"].size(),
        setup["budgets"].get<int>(), setup["instruction_set"].get<std::string>().c_str(), setup["threads"].get<int>(),
        setup["runs"].get<int>(), setup["clock"].get<std::string>().c_str());
    std::printf("\n%-34s %9s %10s %10s\n", "products that cannot be done without", "GFLOP", "at::mm", "oneDNN");
    for (const auto& part : result["open_loop"]["floor"]) {
        std::printf("%-36s %7.1f %8.3f s %8.3f s\n", part["product"].get<std::string>().c_str(),
            part["gflop"].get<double>(), part["at_mm_s"].get<double>(), part["onednn_s"].get<double>());
    }
    const auto row
        = [](const char* name, double value, const char* unit) { std::printf("%-60s %9.3f%s\n", name, value, unit); };
    row("the faster of both, summed", result["open_loop"]["floor_s"], " s");
    row("losses of all policies and budgets, one pass", result["open_loop"]["one_pass_s"], " s");
    row("one pass / products", result["open_loop"]["ratio"], "");
    if (result.contains("naive")) {
        row("naive, float64, from a few cells", result["naive"]["naive_s"], " s");
        row("naive / one pass", result["naive"]["ratio"], "");
        std::printf("%-60s %9.1e\n", "relative difference of their losses",
            result["naive"]["relative_difference"].get<double>());
    }
    if (result.contains("lava_score")) {
        const auto& score = result["lava_score"];
        std::printf(
            "\nLAVa's scores and selection, one layer of Llama-3-8B's shape, %d tokens\n", score["tokens"].get<int>());
        row("this toolkit", score["lava_s"], " s");
        row("plain LibTorch, K repeated per query head", score["plain_libtorch_s"], " s");
        row("plain / this toolkit", score["ratio"], "");
        std::printf("%-60s %9d of %d\n", "entries kept by one and not by the other",
            score["kept_differently"].get<int>(), score["kept_entries"].get<int>());
    }
    if (result.contains("growth")) {
        std::printf("\ngrowth of one pass\n");
        for (const auto& step : result["growth"]) {
            std::printf("%-10s %8d %9.3f s", step["of"].get<std::string>().c_str(), step["size"].get<int>(),
                step["one_pass_s"].get<double>());
            if (!step["times"].is_null()) {
                std::printf(" %8.2f times the one before", step["times"].get<double>());
            }
            std::printf("\n");
        }
    }
}

// Before any of the libraries is used: they look only once.
void limit_to(const std::string& name)
{
    const auto all = runnable_arithmetic();
    const auto found = std::ranges::find_if(all, [&](const Arithmetic* one) { return one->name == name; });
    if (found == all.end()) {
        throw Error("--kernels: this processor does not run " + name);
    }
    use_arithmetic(**found);
    for (const auto& [variable, value] : {std::pair("ONEDNN_MAX_CPU_ISA", "AVX2"), {"ATEN_CPU_CAPABILITY", "avx2"},
             {"MKL_ENABLE_INSTRUCTIONS", "AVX2"}}) {
        ::setenv(variable, value, 1);
    }
}

int run(int argc, char** argv)
{
    const auto options = parse_options(argc, argv);
    if (!options.help.empty()) {
        std::cout << options.help;
        return 0;
    }
    if (!options.kernels.empty()) {
        limit_to(options.kernels);
    }
    Json result;
    {
        const auto workload = make_workload(load_layers(options), options.policies, options.budgets, options.threads);
        result["setup"] = describe(options, workload);
        result["open_loop"] = open_loop(options, workload);
        if (options.naive_cells > 0) {
            result["naive"] = naive(options, workload, result["open_loop"]["one_pass_s"]);
        }
        if (options.growth) {
            result["growth"] = growth(options, workload);
        }
    }
    if (options.score_tokens > 0) {
        result["lava_score"] = lava_score(options);
    }
    if (options.json) {
        std::cout << result.dump(2) << "\n";
    } else {
        print(result);
    }
    return 0;
}

} // namespace
} // namespace lava::bench

int main(int argc, char** argv)
{
    return lava::run_program("lava-bench", [&] { return lava::bench::run(argc, argv); });
}
