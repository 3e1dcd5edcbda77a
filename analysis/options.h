#pragma once

#include "analysis/score.h"
#include "analysis/selection.h"
#include "analysis/tables.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lava {

enum class Command
{
    help,
    version,
    table,
    layers,
    heads,
    budgets,
    map,
    bounds,
    spans,
    gain,
    summary,
    answers,
    retained,
    curves,
    score,
    plot,
    columns
};

struct Options
{
    Command command = Command::help;
    std::string help; ///< what to print for it
    std::vector<std::filesystem::path> reports;
    Filter filter;
    TableFormat format = TableFormat::text;
    std::string pivot; ///< table: column to set policies against budgets; empty where not asked for
    Detail by = Detail::run; ///< bounds, spans
    bool by_report = false; ///< summary, gain: a row for every prompt
    std::string baseline; ///< summary, score: policy that the others are compared with; empty: none
    std::vector<std::int64_t> layers; ///< negative ones count from the last; empty: all, of gain first and last
    std::vector<std::string> tables; ///< columns: the commands whose columns are asked for; empty: all
    std::filesystem::path output; ///< plot: folder; curves: file, may be empty
    ScoreRequest score;
    bool by_needle = false; ///< score of reports
};

/// Throws UsageError.
Options parse_options(int argc, const char* const* argv);

} // namespace lava
