#pragma once

#include "tests/analysis/example_closed_loop.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace lava {

/// What lava-prompts says of a question whose right answer is "red ball": by qa_f1 "red ball" scores 1, "red" 2/3, "no"
/// nothing.
inline nlohmann::json scoring_of_question(const std::string& task)
{
    return {{"benchmark", "longbench"}, {"variant", "official"}, {"task", task}, {"metric", "qa_f1"},
        {"answers", {"red ball"}}, {"all_classes", nullptr}, {"max_new_tokens", 32}, {"max_length", nullptr},
        {"record", {{"file", task + ".jsonl"}, {"line", 1}}}};
}

/// The example with a closed loop, of the prompt of this number. `answers`: of each of its three policies at each of
/// its three budgets; one answer stands for all budgets.
inline ReplayReport scored_report(int prompt, const nlohmann::json& scoring, const std::string& dense,
    const std::vector<std::vector<std::string>>& answers)
{
    ReplayReport report = example_report();
    add_example_closed_loop(report);
    report.file = "prompt" + std::to_string(prompt) + ".report.h5";
    report.trace.file = "prompt" + std::to_string(prompt) + ".h5";
    report.trace.prompt_ids.front() = 400 + prompt;
    report.trace.tokenization = nlohmann::json{{"scoring", scoring}}.dump();
    auto& loop = report.closed_loop;
    const std::int64_t end = loop.end_ids.front();
    std::vector<std::string> texts{dense};
    for (const auto& of_policy : answers)
        texts.insert(texts.end(), of_policy.begin(), of_policy.end());
    loop.token_ids = {end};
    loop.token_texts = {"</s>"};
    for (std::size_t i = 0; i < texts.size(); ++i) {
        loop.token_ids.push_back(10 + static_cast<std::int64_t>(i));
        loop.token_texts.push_back(texts[i]);
    }
    const auto id_of = [&](const std::string& text) {
        return 10 + static_cast<std::int64_t>(std::ranges::find(texts, text) - texts.begin());
    };
    loop.generated_ids = {id_of(dense), end, end};
    for (std::size_t policy = 0; policy < answers.size(); ++policy) {
        auto& ids = report.policies[policy].closed_loop.generated_ids;
        ids.clear();
        for (std::size_t g = 0; g < 3; ++g) {
            const auto& of_policy = answers[policy];
            ids.insert(ids.end(), {id_of(of_policy[std::min(g, of_policy.size() - 1)]), end, end});
        }
    }
    return report;
}

} // namespace lava
