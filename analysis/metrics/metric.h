#pragma once

#include "analysis/metrics/chinese_words.h"

#include <nlohmann/json_fwd.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// What a metric looks at.
struct Scored
{
    CharactersView prediction;
    const nlohmann::json& answers; ///< as the record has them; see answers.h
    std::span<const Characters> classes; ///< classification: all there are
    const ChineseWords* words = nullptr; ///< where the metric's cuts_words is set
};

/// An official metric, from 0 to 1.
struct Metric
{
    const char* name;
    const char* meaning;
    double (*score)(const Scored& scored);
    bool cuts_words = false; ///< Chinese, into words: it needs jieba's dictionary
    bool needs_classes = false;
};

/// A data set as its benchmark scores it.
struct Task
{
    const char* name;
    const char* benchmark;
    const char* metric;
    bool first_line_only = false; ///< of the prediction, line breaks before it passed over
};

std::span<const Metric> metrics();
std::span<const Task> tasks();

/// Null where there is none of the name. The metric "needle" is needle_rouge_1, that of an InfiniteBench task may go by
/// the task's name; the task "NAME_e" of LongBench-E is NAME.
const Metric* find_metric(std::string_view name);
const Task* find_task(std::string_view name);

/// Throws Error where the answers are not what the metric reads.
double score(const Metric& metric, const Task* task, std::string_view prediction, const nlohmann::json& answers,
    std::span<const std::string> classes, const ChineseWords* words);

/// Score of a prediction against the answers of a benchmark's record, given as strings. `task` may be one that is not
/// known here. Throws Error also where there is no such metric, or `words` are needed and null.
double score(std::string_view metric, std::string_view task, std::string_view prediction,
    std::span<const std::string> answers, std::span<const std::string> classes = {},
    const ChineseWords* words = nullptr);

/// Best share of the words of an answer that the prediction has, as LAVa's needle charts have it; of the answer that
/// holds the customary needle, the words of "eat a sandwich and sit in Dolores Park on a sunny day".
double needle_word_overlap(CharactersView prediction, const nlohmann::json& answers);

} // namespace lava
