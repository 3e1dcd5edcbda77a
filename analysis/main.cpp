#include "analysis/closed_loop_statistics.h"
#include "analysis/column_table.h"
#include "analysis/gain.h"
#include "analysis/options.h"
#include "analysis/oracle.h"
#include "analysis/plot.h"
#include "analysis/report_set.h"
#include "analysis/score_reports.h"
#include "analysis/summary.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/output_guard.h"
#include "base/program.h"
#include "traces/recorded_part.h"

#include <iostream>

namespace {

using namespace lava;

std::vector<ReplayReport> read_reports(const Options& options)
{
    std::vector<ReplayReport> reports;
    for (const auto& file : options.reports)
        reports.push_back(read_report(file));
    return reports;
}

Table make_table(const Options& options, std::span<const Cell> cells)
{
    switch (options.command) {
    case Command::layers:
        return layer_table(cells, options.layers);
    case Command::heads:
        return head_table(cells, options.layers);
    case Command::budgets:
        return budget_table(cells, options.layers);
    case Command::map:
        return budget_map(cells, options.layers);
    case Command::bounds:
        return bound_table(cells, options.by, options.layers);
    case Command::spans:
        return span_table(cells, options.by, options.layers);
    case Command::answers:
        return answer_table(cells);
    default:
        break;
    }
    const Table table = comparison_table(cells);
    return options.pivot.empty() ? table : pivot(table, options.pivot);
}

std::string heading(const ReplayReport& report)
{
    const TraceInfo& trace = report.trace;
    return formatted("{}: {}, {} layers x {} KV heads{}, {} tokens; {}{}{}\n", report.file,
        trace.model_name.empty() ? "unnamed model" : printable(trace.model_name), trace.shape.num_layers,
        trace.shape.num_kv_heads, is_part(trace) ? " (" + part_text(trace) + " of the model)" : "", trace.seq_len,
        report.has_losses() ? formatted("open-loop losses over {} steps", trace.eval_len) : "no losses",
        report.has_losses() && !trace.attn_out_at.empty() ? ", attention outputs " + printable(trace.attn_out_at) : "",
        closed_loop_text(report));
}

void note_unknown_answers(std::span<const ReplayReport> reports)
{
    for (const ReplayReport& report : reports) {
        if (!report.closed_loop.empty() && !next_id(report))
            std::cerr << "lava-analyze: note: " << report.file
                      << ": does not say which token the prompt itself leads to, so that exact and dense_exact stay "
                         "empty; lava-replay --closed-loop finds it\n";
    }
}

/// Where a policy was replayed in both ways and neither was asked for, what its rule keeps of the budget itself.
std::vector<Cell> prefer_nominal(std::span<const Cell> cells)
{
    std::vector<Cell> preferred;
    for (const Cell& cell : cells) {
        if (compared_as(cell.replay(), "nominal"))
            preferred.push_back(cell);
    }
    return preferred.empty() ? std::vector<Cell>(cells.begin(), cells.end()) : preferred;
}

std::string retained_text(const Options& options, std::span<const Cell> selected)
{
    const std::vector<Cell> cells = prefer_nominal(selected);
    if (cells.size() == 1)
        return options.format == TableFormat::json ? retained_json(cells[0]) : to_text(retained_table(cells[0]));
    std::string names;
    for (const Cell& cell : cells)
        names += formatted(
            "{}{} at {}", names.empty() ? "" : ", ", cell.replay().policy, cell.replay().budgets[cell.budget]);
    throw Error("retained: expected one policy at one budget, found " + (names.empty() ? "none" : names));
}

std::string summary_text(const Options& options, std::span<const ReplayReport> reports, std::span<const Cell> cells)
{
    note_unknown_answers(reports);
    const std::string baseline = options.baseline.empty() ? "" : policy_named(reports, options.baseline);
    const Table table
        = summary_table(cells, {.match = options.filter.match, .baseline = baseline, .by_report = options.by_report});
    return to_string(table, options.format);
}

/// The cells that a command is about, of reports that may stand in one table.
std::vector<Cell> cells_of(const Options& options, std::span<const ReplayReport> reports)
{
    const bool averages
        = options.command == Command::summary || options.command == Command::gain || options.command == Command::score;
    const Use use = averages || !options.output.empty() ? Use::averaged : Use::side_by_side;
    check_same_model(reports, use);
    Filter filter = options.filter;
    if (!options.baseline.empty() && !filter.policies.empty())
        filter.policies.push_back(options.baseline);
    std::vector<Cell> cells = select_cells(reports, filter);
    check_nothing_twice(cells, use);
    return cells;
}

std::string tables_text(const Options& options, std::span<const ReplayReport> reports, std::span<const Cell> cells)
{
    std::string text;
    for (const ReplayReport& report : reports)
        text += heading(report);
    for (std::size_t i = 0; options.command == Command::answers && i < reports.size(); ++i)
        text += "with the whole cache: " + printable(dense_answer(reports[i]).value_or("")) + "\n";
    if (!options.pivot.empty())
        text += options.pivot + " at budget\n";
    return text + to_text(make_table(options, cells));
}

std::string curves_text(const Options& options, std::span<const ReplayReport> reports)
{
    const std::string& policy = options.filter.policies[0];
    if (!options.output.empty())
        write_npy(options.output, oracle_curves(reports, policy));
    return to_string(oracle_table(reports, policy), options.format);
}

ScoreResult scores(const Options& options)
{
    if (!options.score.predictions.empty())
        return score_predictions(options.score);
    const std::vector<ReplayReport> reports = read_reports(options);
    const std::string baseline = options.baseline.empty() ? "" : policy_named(reports, options.baseline);
    return score_reports(cells_of(options, reports),
        {.match = options.filter.match,
            .baseline = baseline,
            .metric = options.score.metric,
            .jieba = options.score.jieba,
            .by = options.score.by_sample ? ScoreBy::sample
                : options.by_needle       ? ScoreBy::needle
                                          : ScoreBy::task});
}

std::string scores_text(const Options& options)
{
    const ScoreResult result = scores(options);
    for (const std::string& note : result.notes)
        std::cerr << "lava-analyze: note: " << note << '\n';
    return to_string(result.table, options.format);
}

std::string result(const Options& options)
{
    if (options.command == Command::score)
        return scores_text(options);
    if (options.command == Command::curves)
        refuse_same_files({&options.output, 1}, options.reports);
    const std::vector<ReplayReport> reports = read_reports(options);
    const std::vector<Cell> cells = cells_of(options, reports);
    switch (options.command) {
    case Command::gain:
        return to_string(gain_table(reports,
                             {options.filter.policies[0], options.filter.policies[1], options.filter.budgets,
                                 options.layers, options.by_report}),
            options.format);
    case Command::curves:
        return curves_text(options, reports);
    case Command::retained:
        return retained_text(options, cells);
    case Command::summary:
        return summary_text(options, reports, cells);
    default:
        break;
    }
    return options.format == TableFormat::text ? tables_text(options, reports, cells)
                                               : to_string(make_table(options, cells), options.format);
}

int plot(const Options& options)
{
    if (options.reports.size() == 1)
        read_report(options.reports[0]); // so that what is wrong with it is said here
    const Filter& filter = options.filter;
    return lava::plot(options.reports, options.output,
        {filter.policies, filter.budgets.empty() ? "" : filter.budgets[0].text, filter.match, options.baseline});
}

int run(int argc, char** argv)
{
    const Options options = parse_options(argc, argv);
    switch (options.command) {
    case Command::help:
        std::cout << options.help;
        return 0;
    case Command::version:
        std::cout << "lava-analyze " << version() << '\n';
        return 0;
    case Command::plot:
        return plot(options);
    case Command::columns:
        std::cout << to_string(column_table(options.tables), options.format);
        return 0;
    default:
        std::cout << result(options);
        return 0;
    }
}

} // namespace

int main(int argc, char** argv)
{
    return run_program("lava-analyze", [&] { return run(argc, argv); });
}
