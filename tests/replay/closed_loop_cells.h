#pragma once

// Closed loops of the small model at ragged retained sets, against a naive decoder.

#include "analysis/replay_report.h"
#include "tests/replay/naive_decoder.h"
#include "tests/replay/story_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace lava::testing {

using Ids = std::vector<std::int64_t>;

/// Three policies of random rankings, the second with a ranking for every budget, the third with a cache for every
/// query head. Counts differ from head to head, from none to all, and do not grow with the budget in every head.
inline ReplayReport ragged_report(const TraceInfo& info)
{
    std::mt19937 random(17);
    ReplayReport report;
    report.trace = info;
    for (const char* name : {"nested", "by_budget", "by_query_head"}) {
        auto& replay = report.policies.emplace_back();
        replay.policy = replay.name = name;
        replay.budgets = {10, 40, 70, story_tokens};
        replay.cache_heads = replay.name == "by_query_head" ? info.shape.num_heads : info.shape.num_kv_heads;
        const auto heads = info.shape.num_layers * replay.cache_heads;
        const auto rankings = heads * (replay.name == "by_budget" ? std::ssize(replay.budgets) : 1);
        for (std::int64_t head = 0; head < rankings; ++head) {
            std::vector<std::uint32_t> ranking(story_tokens);
            std::iota(ranking.begin(), ranking.end(), 0U);
            std::shuffle(ranking.begin(), ranking.end(), random);
            replay.ranking.insert(replay.ranking.end(), ranking.begin(), ranking.end());
        }
        for (const auto budget : replay.budgets) {
            for (std::int64_t head = 0; head < heads; ++head) {
                const auto count = static_cast<std::int64_t>(random()) % (2 * budget + 1);
                replay.counts.push_back(
                    budget == story_tokens ? budget : std::clamp<std::int64_t>(count, 0, story_tokens));
            }
        }
    }
    return report;
}

/// [num_layers, cache heads, seq_len]
inline at::Tensor kept_of(const ReplayReport& report, std::size_t policy, std::size_t budget)
{
    const auto heads = report.cache_heads(policy), layers = report.trace.shape.num_layers, n = report.trace.seq_len;
    auto kept = at::zeros({layers, heads, n}, at::kBool);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const auto ranking = report.ranking(policy, budget, layer);
        for (std::int64_t head = 0; head < heads; ++head) {
            const auto row = (static_cast<std::int64_t>(budget) * layers + layer) * heads + head;
            for (std::int64_t i = 0; i < report.policies[policy].counts[static_cast<std::size_t>(row)]; ++i)
                kept[layer][head][ranking[static_cast<std::size_t>(head * n + i)]] = true;
        }
    }
    return kept;
}

/// A run of the naive decoder over given inputs.
struct NaiveRun
{
    std::vector<at::Tensor> log_p; // [steps] of [vocab_size]
    std::vector<at::Tensor> stream; // [steps * num_layers] of [hidden_size]
};

inline NaiveRun run_naively(
    const std::filesystem::path& model, const Trace& trace, const at::Tensor& kept, const Ids& inputs)
{
    const Checkpoint checkpoint(model);
    NaiveDecoder decoder(trace, checkpoint, kept);
    NaiveRun run;
    for (const auto id : inputs)
        run.log_p.push_back(at::log_softmax(decoder.step(id), 0));
    run.stream = decoder.stream;
    return run;
}

inline Ids answer_naively(const std::filesystem::path& model, const Trace& trace, const at::Tensor& kept,
    std::int64_t first, std::int64_t count)
{
    const Checkpoint checkpoint(model);
    NaiveDecoder decoder(trace, checkpoint, kept);
    Ids ids{first};
    while (std::ssize(ids) < count)
        ids.push_back(decoder.step(ids.back()).argmax().item<std::int64_t>());
    return ids;
}

inline void expect_near(double found, double expected, double relative, double absolute, const std::string& what)
{
    EXPECT_LE(std::abs(found - expected), relative * std::abs(expected) + absolute)
        << what << ": expected " << expected << ", found " << found;
}

/// A cell against the naive run of the same retained set and inputs.
inline void expect_cell(
    const ReplayReport& report, std::size_t policy, std::size_t budget, const NaiveRun& dense, const NaiveRun& evicted)
{
    const auto& found = report.policies[policy].closed_loop;
    const auto& inputs = report.closed_loop.input_ids;
    const auto steps = inputs.size(), layers = dense.stream.size() / steps;
    for (std::size_t step = 0; step < steps; ++step) {
        const auto where = "policy " + std::to_string(policy) + ", budget " + std::to_string(budget) + ", step "
            + std::to_string(step);
        const auto kl = (dense.log_p[step].exp() * (dense.log_p[step] - evicted.log_p[step])).sum().item<double>();
        expect_near(found.kl[budget * steps + step], kl, 1e-3, 1e-11, where + ": KL");
        EXPECT_EQ(found.top_ids[budget * steps + step], evicted.log_p[step].argmax().item<std::int64_t>()) << where;
        if (step + 1 < steps)
            expect_near(found.cross_entropy[budget * (steps - 1) + step],
                -evicted.log_p[step][inputs[step + 1]].item<double>(), 1e-5, 1e-5, where + ": cross entropy");
        for (std::size_t layer = 0; layer < layers; ++layer) {
            const auto& stream = dense.stream[step * layers + layer];
            const auto drift = stream - evicted.stream[step * layers + layer];
            constexpr double rounding = 5e-7; // of two float32 runs: a few units in the last place of the stream
            const auto at = (budget * layers + layer) * steps + step;
            expect_near(found.drift_l1[at], drift.abs().sum().item<double>(), 1e-4,
                rounding * stream.abs().sum().item<double>(), where + ": drift");
            expect_near(found.drift_l2[at], drift.norm().item<double>(), 1e-4, rounding * stream.norm().item<double>(),
                where + ": drift");
        }
    }
}

inline void expect_all_cells(
    const Trace& trace, const ReplayReport& report, const std::filesystem::path& model = story_model)
{
    const auto& info = trace.info();
    const auto& inputs = report.closed_loop.input_ids;
    const auto all = at::ones({info.shape.num_layers, info.shape.num_kv_heads, info.seq_len}, at::kBool);
    const auto dense = run_naively(model, trace, all, inputs);
    for (std::size_t p = 0; p < report.policies.size(); ++p)
        for (std::size_t g = 0; g < report.policies[p].budgets.size(); ++g)
            expect_cell(report, p, g, dense, run_naively(model, trace, kept_of(report, p, g), inputs));
}

} // namespace lava::testing
