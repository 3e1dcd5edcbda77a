#pragma once

#include "analysis/replay_report.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace lava {

namespace example {

inline TraceInfo trace_info()
{
    TraceInfo info;
    info.file = "example.h5";
    info.generator = "lava-capture 0.1.0";
    info.model_name = "example-llama";
    info.model_config = R"({"model_type": "llama"})";
    info.weights_sha256 = std::string(64, 'a');
    info.device = "cpu";
    info.run_dtype = "float32";
    info.continuation = "greedy";
    info.tokenization = R"({"chat": false})";
    info.shape = {.num_layers = 3, .num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .hidden_size = 32};
    info.vocab_size = 512;
    info.prompt_texts = {"<s>", "The", " sea", " was", " calm", ".", "\n", "\n", "The", " code", " is", " ", "4", "1",
        "7", "2", ".", "\n", "No", " wind", ".\n", "What", " code", "?"};
    info.seq_len = static_cast<std::int64_t>(info.prompt_texts.size());
    info.eval_texts = {" 4172", "\xe2\x96"}; // the second ends inside a UTF-8 character, as byte-level tokens do
    info.eval_len = 2;
    info.window = 4;
    info.prompt_ids.resize(info.prompt_texts.size());
    std::iota(info.prompt_ids.begin(), info.prompt_ids.end(), 100);
    info.eval_ids = {7, 300};
    info.spans = {{"haystack", 0, 21}, {"needle", 8, 17}, {"question", 21, 24}};
    info.has_losses = info.has_outputs = info.has_observed_attention = info.has_logits = true;
    return info;
}

/// Attention of query head `head` to prompt position `i`, not normalised: a sink, a needle, a recent slope.
inline double attention(std::int64_t layer, std::int64_t head, std::int64_t i)
{
    const double sink = i == 0 ? 3 : 0;
    const double needle = i >= 8 && i < 17 ? 0.25 * static_cast<double>(layer + 1) : 0;
    const double recent = 2.0 / static_cast<double>(24 - i);
    return sink + needle + recent + 0.05 * static_cast<double>((i * 7 + head * 5 + layer * 3) % 11);
}

/// Score of a position for a KV head: the mean over its two query heads.
inline double score(std::int64_t layer, std::int64_t kv_head, std::int64_t i)
{
    return (attention(layer, 2 * kv_head, i) + attention(layer, 2 * kv_head + 1, i)) / 2;
}

/// Newest four first, then by score; ties go to the older position.
inline std::vector<std::uint32_t> scored_ranking(std::int64_t layer, std::int64_t kv_head)
{
    std::vector<std::uint32_t> ranking(24);
    std::iota(ranking.begin(), ranking.end(), 0);
    std::reverse(ranking.begin() + 20, ranking.end());
    std::rotate(ranking.begin(), ranking.begin() + 20, ranking.end());
    std::stable_sort(ranking.begin() + 4, ranking.end(),
        [&](std::uint32_t a, std::uint32_t b) { return score(layer, kv_head, a) > score(layer, kv_head, b); });
    return ranking;
}

/// Four sinks, then the newest first.
inline std::vector<std::uint32_t> streaming_ranking(std::int64_t, std::int64_t)
{
    std::vector<std::uint32_t> ranking(24);
    std::iota(ranking.begin(), ranking.end(), 0);
    std::reverse(ranking.begin() + 4, ranking.end());
    return ranking;
}

/// Losses that follow from the evicted share of attention(): head_l1 is exactly twice it, the others scale with it.
inline void append_losses(PolicyReplay& replay, std::size_t budget, std::int64_t layer)
{
    constexpr std::int64_t num_heads = 4, seq_len = 24, eval_len = 2;
    std::vector<double> evicted(num_heads);
    for (std::int64_t head = 0; head < num_heads; ++head) {
        const auto row = static_cast<std::size_t>(layer * 2 + head / 2);
        double kept = 0, all = 0;
        for (std::int64_t rank = 0; rank < seq_len; ++rank) {
            const double mass = attention(layer, head, replay.ranking[row * seq_len + static_cast<std::size_t>(rank)]);
            all += mass;
            kept += rank < replay.counts[budget * 6 + row] ? mass : 0;
        }
        evicted[static_cast<std::size_t>(head)] = kept == all ? 0 : 1 - kept / all;
        for (std::int64_t step = 0; step < eval_len; ++step) {
            const double mass = evicted[static_cast<std::size_t>(head)] * (step == 0 ? 1 : 0.9);
            replay.head_l1.push_back(static_cast<float>(2 * mass));
            replay.head_output_l1.push_back(static_cast<float>(1.5 * mass));
            replay.head_output_l2.push_back(static_cast<float>(0.75 * mass));
        }
    }
    for (std::int64_t step = 0; step < eval_len; ++step) {
        const double mass = std::accumulate(evicted.begin(), evicted.end(), 0.0) * (step == 0 ? 1 : 0.9);
        replay.attn_out_l1.push_back(2 * mass);
        replay.attn_out_l2.push_back(0.5 * mass);
        replay.bound_lava.push_back(160 * mass);
        replay.bound_adakv.push_back(40 * mass);
        replay.bound_projected.push_back(16 * mass);
    }
}

/// A policy over budgets 6, 12 and 24 whose heads keep counts [3, L, Hkv].
inline PolicyReplay policy(std::string spelling, std::string name,
    std::vector<std::pair<std::string, std::string>> parameters, std::vector<std::int64_t> counts,
    std::vector<std::uint32_t> (*ranking)(std::int64_t, std::int64_t))
{
    PolicyReplay replay;
    replay.policy = std::move(spelling);
    replay.name = std::move(name);
    replay.parameters = std::move(parameters);
    replay.window = 4;
    replay.budgets = {6, 12, 24};
    replay.asked = {36, 72, 144};
    replay.granted = {36, 72, 144};
    replay.counts = std::move(counts);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        for (std::int64_t kv_head = 0; kv_head < 2; ++kv_head) {
            const auto head = ranking(layer, kv_head);
            replay.ranking.insert(replay.ranking.end(), head.begin(), head.end());
        }
    }
    for (std::size_t budget = 0; budget < replay.budgets.size(); ++budget) {
        for (std::int64_t layer = 0; layer < 3; ++layer)
            append_losses(replay, budget, layer);
    }
    return replay;
}

} // namespace example

/// A small report for tests: 3 layers, 4 query heads, 2 KV heads, 24 tokens, 2 evaluation steps, three policies at
/// budgets 6, 12 and 24 (everything kept, so no loss).
inline ReplayReport example_report()
{
    ReplayReport report;
    report.generator = "lava-replay 0.1.0";
    report.trace = example::trace_info();
    report.deviations = {1e-6, 2e-6, 1.5e-6};
    report.norms.head_output_l1.assign(3 * 4 * 2, 2.0F);
    report.norms.head_output_l2.assign(3 * 4 * 2, 0.8F);
    report.norms.attn_out_l1 = {8, 8, 10, 10, 16, 12};
    report.norms.attn_out_l2 = {2, 2, 2.5, 2.5, 4, 3};
    const std::vector<std::int64_t> uniform = {6, 6, 6, 6, 6, 6, 12, 12, 12, 12, 12, 12, 24, 24, 24, 24, 24, 24};
    const std::vector<std::int64_t> adaptive = {5, 5, 9, 7, 4, 6, 10, 10, 17, 13, 9, 13, 24, 24, 24, 24, 24, 24};
    report.policies.push_back(
        example::policy("streaming-llm", "streaming-llm", {{"sinks", "4"}}, uniform, example::streaming_ranking));
    report.policies.push_back(example::policy("snapkv:window=4", "snapkv",
        {{"window", "4"}, {"kernel", "7"}, {"pool", "max"}}, uniform, example::scored_ranking));
    report.policies.push_back(example::policy("lava:window=4", "lava",
        {{"window", "4"}, {"kernel", "7"}, {"pool", "max"}}, adaptive, example::scored_ranking));
    return report;
}

/// The example report without the loss part, as a trace without evaluation steps gives it.
inline ReplayReport example_report_without_losses()
{
    ReplayReport report = example_report();
    report.norms = {};
    report.deviations.clear();
    report.trace.eval_len = 0;
    report.trace.eval_ids.clear();
    report.trace.eval_texts.clear();
    report.trace.has_losses = report.trace.has_outputs = report.trace.has_logits = false;
    for (PolicyReplay& replay : report.policies) {
        replay.head_l1 = replay.head_output_l1 = replay.head_output_l2 = {};
        replay.attn_out_l1 = replay.attn_out_l2 = {};
        replay.bound_lava = replay.bound_adakv = replay.bound_projected = {};
    }
    return report;
}

} // namespace lava
