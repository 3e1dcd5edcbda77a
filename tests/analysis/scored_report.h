#pragma once

#include "tests/analysis/example_closed_loop.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lava {

/// What lava-prompts says of a question whose right answer is "red ball": by qa_f1 "red ball" scores 1, "red" 2/3, "no"
/// nothing.
inline nlohmann::json scoring_of_question(const std::string& task)
{
    return {{"benchmark", "longbench"}, {"variant", "official"}, {"task", task}, {"metric", "qa_f1"},
        {"answers", {"red ball"}}, {"all_classes", nullptr}, {"max_new_tokens", 3}, {"max_length", nullptr},
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
    report.closed_loop.generated_text = dense;
    for (std::size_t policy = 0; policy < answers.size(); ++policy) {
        auto& texts = report.policies[policy].closed_loop.generated_texts;
        texts = answers[policy];
        texts.resize(3, texts.front());
    }
    return report;
}

} // namespace lava
