// The closed loop of many policies at many budgets against the products that it cannot do without, in turn in one run,
// so that the ratio means something on a busy machine too.

#include "base/error.h"
#include "base/formatted.h"
#include "base/program.h"
#include "bench/command_line.h"
#include "bench/model_floor.h"
#include "bench/workload.h"
#include "compute/cpu/arithmetic.h"
#include "compute/parallel.h"
#include "replay/closed_loop/closed_loop.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>

namespace lava::bench {
namespace {

namespace po = boost::program_options;

struct ClosedLoopBench
{
    std::string trace, model;
    std::int64_t policies = 12, budgets = 64, steps = 12;
    int runs = 3;
    int threads = default_threads();
    Clock clock = Clock::wall;
    bool skip_free = false;
    std::string help; ///< what --help prints; empty unless asked for
};

void check(const ClosedLoopBench& options)
{
    if (options.trace.empty() || options.model.empty())
        throw UsageError("expected --trace FILE and --model DIR");
    if (options.policies < 1 || options.policies > max_policies)
        throw UsageError(formatted("--policies: expected 1 to 12, found {}", options.policies));
    if (options.budgets < 1 || options.steps < 1 || options.runs < 1 || options.threads < 1)
        throw UsageError("--budgets, --steps, --runs and --threads must be at least 1");
}

ClosedLoopBench parse_options(int argc, char** argv)
{
    ClosedLoopBench options;
    std::string clock;
    po::options_description visible("Options");
    auto add = visible.add_options();
    const auto number = [](auto& value) { return po::value(&value)->default_value(value)->value_name("N"); };
    add("trace", po::value(&options.trace)->value_name("FILE"), "trace to start from");
    add("model", po::value(&options.model)->value_name("DIR"), "its model");
    add("policies", number(options.policies), "policies, at most 12");
    add("budgets", number(options.budgets), "budgets, evenly spaced");
    add("steps", number(options.steps), "decode steps");
    add("runs", number(options.runs), "runs of each, in turn; medians are printed");
    add("threads", number(options.threads), "threads of all");
    add("clock", po::value(&clock)->value_name("NAME")->default_value("wall"),
        "wall, or cpu: summed over threads, for a machine that is busy otherwise");
    add("forced-only", po::bool_switch(&options.skip_free), "leave the free-running rows out");
    add("help,h", "print this and exit");
    const auto values = parsed(argc, argv, visible);
    if (values.contains("help")) {
        std::ostringstream text;
        text << "Usage: lava-bench-closed-loop --trace FILE --model DIR [options]\nTimes decoding from every evicted "
                "cache against the matrix products that it cannot do without.\n\n"
             << visible;
        options.help = text.str();
        return options;
    }
    check(options);
    options.clock = clock_named(clock);
    return options;
}

ReplayReport retained_sets(const Trace& trace, const ClosedLoopBench& options)
{
    ReplayOptions replay_options;
    for (std::int64_t p = 0; p < options.policies; ++p)
        replay_options.policies.push_back(parse_policy(policy_names()[static_cast<std::size_t>(p)]));
    for (std::int64_t g = 0; g < options.budgets; ++g)
        replay_options.budgets
            += (g == 0 ? "" : ",") + std::to_string(even_budget(trace.info().seq_len, g, options.budgets));
    replay_options.threads = options.threads;
    return replay(trace, replay_options);
}

/// Medians of what was run in turn.
struct Times
{
    std::vector<FloorProduct> products;
    double forced = 0, free = 0;
};

Times run_in_turn(const Trace& trace, const Decoder& decoder, ReplayReport& report, const ClosedLoopRows& rows,
    const ClosedLoopBench& options)
{
    const DecodeBatch batch(trace, decoder, rows.retained, trace.info().seq_len, options.threads);
    const auto shapes = closed_loop_products(decoder.config(), rows.retained, options.steps);
    std::vector<double> forced, free;
    std::vector<std::vector<double>> mkl(shapes.size()), onednn(shapes.size());
    Times times;
    for (int run = 0; run < options.runs; ++run) {
        forced.push_back(seconds_of(options.clock, [&] {
            add_closed_loop(trace, decoder, {options.steps, false, options.threads}, report);
        }));
        if (!options.skip_free)
            free.push_back(seconds_of(options.clock,
                [&] { batch.generate(std::span(trace.info().eval_ids).first(1), options.steps, {}, [] {}); }));
        times.products.clear();
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            auto& product = times.products.emplace_back(time_product(shapes[i], options.threads, options.clock));
            mkl[i].push_back(product.mkl_seconds);
            onednn[i].push_back(product.onednn_seconds);
            product.mkl_seconds = median(mkl[i]);
            product.onednn_seconds = median(onednn[i]);
        }
    }
    times.forced = median(forced);
    times.free = options.skip_free ? 0 : median(free);
    return times;
}

void print(const Times& times, std::size_t rows, std::int64_t tokens, const ClosedLoopBench& options)
{
    std::printf("%zu rows x %lld steps after %lld tokens; %s kernels, %d threads; medians of %d, %s clock\n\n", rows,
        static_cast<long long>(options.steps), static_cast<long long>(tokens), arithmetic().name, options.threads,
        options.runs, options.clock == Clock::wall ? "wall" : "cpu");
    std::printf("%-38s %9s %10s %10s\n", "products that cannot be done without", "GFLOP", "at::mm", "oneDNN");
    for (const auto& part : times.products)
        std::printf("%-38s %9.1f %8.3f s %8.3f s\n", part.name.c_str(), part.flops * 1e-9, part.mkl_seconds,
            part.onednn_seconds);
    const auto floor = floor_seconds(times.products);
    std::printf("%-48s %10.3f s\n", "the faster of both, summed", floor);
    std::printf("%-48s %10.3f s\n", "teacher-forced", times.forced);
    std::printf("%-48s %10.3f\n", "teacher-forced / products", times.forced / floor);
    if (!options.skip_free) {
        std::printf("%-48s %10.3f s\n", "free-running", times.free);
        std::printf("%-48s %10.3f\n", "free-running / products", times.free / floor);
    }
}

int run(int argc, char** argv)
{
    const auto options = parse_options(argc, argv);
    if (!options.help.empty()) {
        std::cout << options.help;
        return 0;
    }
    at::set_num_threads(1); // the replay has its own threads
    const Trace trace(options.trace);
    const auto decoder = open_model_of(trace, options.model);
    auto report = retained_sets(trace, options);
    const auto rows = closed_loop_rows(report);
    const auto times = run_in_turn(trace, decoder, report, rows, options);
    print(times, rows.retained.size(), trace.info().seq_len, options);
    return 0;
}

} // namespace
} // namespace lava::bench

int main(int argc, char** argv)
{
    return lava::run_program("lava-bench-closed-loop", [&] { return lava::bench::run(argc, argv); });
}
