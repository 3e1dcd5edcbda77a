#pragma once

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
    plot
};

struct Options
{
    Command command = Command::help;
    std::vector<std::filesystem::path> reports;
    Filter filter;
    TableFormat format = TableFormat::text;
    std::string pivot; ///< table: column to set policies against budgets; empty where not asked for
    Detail by = Detail::run; ///< bounds, spans
    std::vector<std::int64_t> layers; ///< gain: negative ones count from the last; empty: first and last
    std::filesystem::path output; ///< plot: folder; curves: file, may be empty
};

/// Throws UsageError.
Options parse_options(int argc, const char* const* argv);

/// What --help prints.
std::string help();

} // namespace lava
