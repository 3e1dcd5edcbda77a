#include "bench/options.h"

#include "base/error.h"
#include "base/formatted.h"
#include "bench/command_line.h"
#include "bench/workload.h"
#include "compute/parallel.h"

#include <sstream>

namespace lava::bench {

namespace po = boost::program_options;

namespace {

po::options_description described(Options& options, std::string& clock)
{
    po::options_description visible("Options");
    auto add = visible.add_options();
    const auto number = [](std::int64_t& value) { return po::value(&value)->default_value(value)->value_name("N"); };
    add("trace", po::value(&options.trace)->value_name("FILE"), "trace whose layers to use (default: synthetic ones)");
    add("shape", po::value(&options.shape)->default_value(options.shape)->value_name("NAME"),
        "of synthetic layers: smollm2 or llama3-8b");
    add("layers", number(options.layers), "layers");
    add("tokens", number(options.tokens), "prompt tokens of synthetic layers");
    add("steps", number(options.steps), "evaluation steps of synthetic layers");
    add("policies", number(options.policies), "policies, at most 12");
    add("budgets", number(options.budgets), "budgets, evenly spaced");
    add("naive-cells", number(options.naive_cells), "cells evaluated naively and scaled up; 0: none");
    add("score-tokens", number(options.score_tokens), "tokens of the layer that LAVa scores; 0: none");
    add("growth", po::bool_switch(&options.growth),
        "also at a half, a quarter and an eighth of everything, one by one");
    add("runs", po::value(&options.runs)->default_value(options.runs)->value_name("N"),
        "runs of each, in turn; medians are printed");
    add("threads", po::value(&options.threads)->default_value(options.threads)->value_name("N"), "threads of all");
    add("clock", po::value(&clock)->value_name("NAME")->default_value("wall"),
        "wall, or cpu: summed over threads, for a machine that is busy otherwise");
    add("kernels", po::value(&options.kernels)->value_name("NAME"),
        "avx2: this toolkit's and the libraries' kernels for that instruction set only");
    add("json", po::bool_switch(&options.json), "print JSON");
    add("help,h", "print this and exit");
    return visible;
}

void check(const Options& options)
{
    if (!options.kernels.empty() && options.kernels != "avx2") {
        throw UsageError("--kernels: expected avx2, found '" + options.kernels + "'");
    }
    if (options.shape != "smollm2" && options.shape != "llama3-8b") {
        throw UsageError("--shape: expected smollm2 or llama3-8b, found '" + options.shape + "'");
    }
    if (options.layers < 1 || options.steps < 1 || options.budgets < 1 || options.runs < 1 || options.threads < 1) {
        throw UsageError("--layers, --steps, --budgets, --runs and --threads must be at least 1");
    }
    if (options.policies < 1 || options.policies > max_policies) {
        throw UsageError(formatted("--policies: expected 1 to 12, found {}", options.policies));
    }
    if (options.tokens < 4 * options.budgets || options.naive_cells > options.budgets) {
        throw UsageError("--tokens must be at least four times --budgets, --naive-cells at most --budgets");
    }
    if (options.score_tokens != 0 && options.score_tokens < 1024) {
        throw UsageError(formatted("--score-tokens: expected 0 or at least 1024, found {}", options.score_tokens));
    }
}

} // namespace

Options parse_options(int argc, char** argv)
{
    Options options;
    options.threads = default_threads();
    std::string clock;
    const auto visible = described(options, clock);
    const auto values = parsed(argc, argv, visible);
    options.clock = clock_named(clock);
    check(options);
    if (values.contains("help")) {
        std::ostringstream text;
        text << "Usage: lava-bench [options]\nTimes exact open-loop losses of many policies at many budgets against "
                "the matrix products that they\ncannot do without, and LAVa's scores against plain LibTorch.\n\n"
             << visible;
        options.help = text.str();
    }
    return options;
}

} // namespace lava::bench
