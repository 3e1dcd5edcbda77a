#pragma once

#include "analysis/metrics/metric.h"
#include "analysis/statistics.h"

#include <compare>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace lava {

/// What scores are averaged within.
struct ScoredTask
{
    std::string benchmark; ///< empty where the prompt's line names none; so are the others
    std::string variant;
    std::optional<std::int64_t> max_length; ///< that the benchmark's texts were cut to, in tokens
    std::string task;
    std::string metric;

    auto operator<=>(const ScoredTask&) const = default;
};

/// What the answers of a report are scored by, as the line of its prompt said.
struct ReportScoring
{
    ScoredTask task;
    const Metric* metric = nullptr;
    std::vector<std::string> answers; ///< the right ones
    std::vector<std::string> classes;
    std::int64_t max_new_tokens = 0; ///< that an answer may have; 0: unknown
    std::vector<std::int64_t> stop_ids; ///< tokens that end an answer, beside the model's own
    std::optional<double> length; ///< of a needle's context, in tokens
    std::optional<double> depth; ///< of the needle in it, in percent
};

/// `metric`: by which to score instead of the prompt's own; empty: that one. Throws Error naming the report whose
/// prompt does not say what its answer is scored by.
ReportScoring scoring_of(const ReplayReport& report, const std::string& metric = {});

/// What the model answered from what the cell retains, or from the whole cache, as it is scored. Throws Error naming
/// the report where it holds no such text.
const std::string& answer_text(const Cell& cell);
const std::string& dense_answer_text(const ReplayReport& report);

/// Whether the model would have gone on with an answer that the prompt allows more tokens than lava-replay --free N
/// gave.
bool cuts_answers(const ReplayReport& report, const ReportScoring& scoring);

/// Whether an answer has more tokens than the prompt allows, as lava-replay --free N may let it have.
bool exceeds_answers(const ReplayReport& report, const ReportScoring& scoring);

/// The metrics of a scoring: its own, and of a needle the second number that its scorer prints.
std::vector<const Metric*> metrics_of(const ReportScoring& scoring);

/// The scores of a model's answers, from 0 to 1; each text is scored once. The reports outlive this.
class ReportScores
{
public:
    /// As in ScoreRequest.
    ReportScores(std::string metric, std::filesystem::path jieba);

    /// All throw Error naming the report where it does not say what its answers are scored by, or holds none.
    const ReportScoring& scoring(const ReplayReport& report);
    double of(const Cell& cell, const Metric& metric);
    double of_dense(const ReplayReport& report, const Metric& metric);

private:
    double score(const ReplayReport& report, const Metric& metric, const std::string& text);

    std::string metric_;
    std::filesystem::path jieba_;
    std::unique_ptr<ChineseWords> words_;
    std::map<const ReplayReport*, ReportScoring> scorings_;
    std::map<std::tuple<const ReplayReport*, const Metric*, std::string>, double> known_;
};

} // namespace lava
