#pragma once

#include "analysis/cell_groups.h"
#include "analysis/means.h"
#include "analysis/report_scores.h"
#include "analysis/score.h"

namespace lava {

/// How far scores of reports are broken down.
enum class ScoreBy
{
    task,
    needle, ///< task, length of the context and depth of the needle in it
    sample
};

struct ReportScoreRequest
{
    std::string match = {}; ///< what the cells were selected by (Filter::match)
    std::string baseline = {}; ///< a policy, as the reports spell it, that the others are compared with; empty: none
    std::string metric = {}; ///< empty: each prompt's own
    std::filesystem::path jieba = {}; ///< as in ScoreRequest
    ScoreBy by = ScoreBy::task;
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
    std::optional<double> length, depth; ///< by needle: tokens, percent
    std::int64_t tasks = 0; ///< that the mean is over
    Value kept_percent;
    Common budget, nominal; ///< in entries
    double retained = 0; ///< share of all entries, mean over the samples
    Estimate score; ///< of all tasks: the mean of the tasks' means
    double dense = 0; ///< the same of the answers from the whole cache
    std::optional<BaselineComparison> compared; ///< nothing where the baseline has no such row
};

/// Benchmark by benchmark and task by task in order of first appearance, by needle in order of length and depth, then
/// by share; where a benchmark has several tasks, "all" of them follow, but not by needle. A needle's second metric has
/// rows of its own. Throws Error naming a report that cannot be scored, or by needle is not of one.
std::vector<ScoreRow> score_rows(std::span<const Cell> cells, const ReportScoreRequest& request);

/// The rows that a request gave as a table.
Table score_table(std::span<const ScoreRow> rows, const ReportScoreRequest& request);

/// All rows as a table, by sample one for every prompt, and what to say beside it.
ScoreResult score_reports(std::span<const Cell> cells, const ReportScoreRequest& request);

/// The columns of all its tables.
std::vector<Column> report_score_columns();

} // namespace lava
