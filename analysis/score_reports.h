#pragma once

#include "analysis/cell_groups.h"
#include "analysis/means.h"
#include "analysis/report_scores.h"
#include "analysis/score.h"

namespace lava {

struct ReportScoreRequest
{
    std::string match = {}; ///< what the cells were selected by (Filter::match)
    std::string baseline = {}; ///< a policy, as the reports spell it, that the others are compared with; empty: none
    std::string metric = {}; ///< empty: each prompt's own
    std::filesystem::path jieba = {}; ///< as in ScoreRequest
    bool by_sample = false; ///< a row for every prompt
};

/// A policy against the baseline, on the prompts that both have.
struct BaselineComparison
{
    PairedDifference difference; ///< of all tasks: the mean of the tasks' means
    std::int64_t won = 0, tied = 0, lost = 0; ///< prompts
};

/// The scores of a policy at one share of the prompts: of a task, or of all tasks of a benchmark.
struct ScoreRow : GroupKey
{
    ScoredTask task; ///< of all tasks: named "all", by no metric
    std::int64_t tasks = 0; ///< that the mean is over
    Value kept_percent;
    Common budget, nominal; ///< in entries
    double retained = 0; ///< share of all entries, mean over the samples
    Estimate score; ///< of all tasks: the mean of the tasks' means
    double dense = 0; ///< the same of the answers from the whole cache
    std::optional<BaselineComparison> compared; ///< nothing where the baseline has no such row
};

/// Benchmark by benchmark and task by task in order of first appearance, then by share; where a benchmark has several
/// tasks, "all" of them follow. A needle's second metric has rows of its own. Throws Error naming a report that cannot
/// be scored.
std::vector<ScoreRow> score_rows(std::span<const Cell> cells, const ReportScoreRequest& request);

/// The same as a table, or with `by_sample` a row for every prompt.
ScoreResult score_reports(std::span<const Cell> cells, const ReportScoreRequest& request);

/// The columns of both tables.
std::vector<Column> report_score_columns();

} // namespace lava
