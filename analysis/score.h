#pragma once

#include "analysis/metrics/metric.h"
#include "analysis/table.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lava {

struct ScoreRequest
{
    std::vector<std::filesystem::path> predictions;
    std::string dataset; ///< empty: each line's own, or else the one that the file is named after
    std::string metric; ///< empty: the data set's
    std::filesystem::path jieba; ///< folder of that Python package; empty: where Debian has it
    bool by_sample = false; ///< a row for every line
};

struct ScoreResult
{
    Table table;
    std::vector<std::string> notes; ///< what a reader of the table should know
};

/// Columns of the table of predictions with either `by_sample`.
std::vector<Column> prediction_score_columns();

/// Throws Error naming file and line, UsageError for a data set or a metric that does not exist.
ScoreResult score_predictions(const ScoreRequest& request);

} // namespace lava
