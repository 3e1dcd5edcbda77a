#include "analysis/closed_loop_statistics.h"
#include "analysis/gain.h"
#include "analysis/options.h"
#include "analysis/oracle.h"
#include "analysis/plot.h"
#include "analysis/summary.h"
#include "traces/error.h"
#include "traces/output_guard.h"
#include "traces/program.h"
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
        return layer_table(cells);
    case Command::heads:
        return head_table(cells);
    case Command::budgets:
        return budget_table(cells);
    case Command::map:
        return budget_map(cells);
    case Command::bounds:
        return bound_table(cells, options.by);
    case Command::spans:
        return span_table(cells, options.by);
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
    return report.file + ": " + (trace.model_name.empty() ? "unnamed model" : printable(trace.model_name)) + ", "
        + std::to_string(trace.shape.num_layers) + " layers x " + std::to_string(trace.shape.num_kv_heads) + " KV heads"
        + (is_part(trace) ? " (" + part_text(trace) + " of the model)" : "") + ", " + std::to_string(trace.seq_len)
        + " tokens; "
        + (report.has_losses() ? "open-loop losses over " + std::to_string(trace.eval_len) + " steps" : "no losses")
        + (report.closed_loop.empty() ? ""
                                      : ", closed loop over " + std::to_string(report.closed_loop.steps()) + " steps")
        + "\n";
}

std::string retained_text(const Options& options, std::span<const Cell> cells)
{
    if (cells.size() == 1)
        return options.format == TableFormat::json ? retained_json(cells[0]) : to_text(retained_table(cells[0]));
    std::string names;
    for (const Cell& cell : cells)
        names += (names.empty() ? "" : ", ") + cell.replay().policy + " at "
            + std::to_string(cell.replay().budgets[cell.budget]);
    throw Error("retained: expected one policy at one budget, found " + names);
}

std::string result(const Options& options)
{
    if (options.command == Command::curves) {
        refuse_same_files({&options.output, 1}, options.reports);
    }
    const std::vector<ReplayReport> reports = read_reports(options);
    if (options.command == Command::gain) {
        const auto& policies = options.filter.policies;
        const Table table = gain_table(reports, policies[0], policies[1], options.filter.budgets, options.layers);
        return to_string(table, options.format);
    }
    if (options.command == Command::curves) {
        const std::string& policy = options.filter.policies[0];
        if (!options.output.empty())
            write_npy(options.output, oracle_curves(reports, policy));
        return to_string(oracle_table(reports, policy), options.format);
    }
    const std::vector<Cell> cells = select_cells(reports, options.filter);
    if (options.command == Command::retained)
        return retained_text(options, cells);
    if (options.command == Command::summary)
        return to_string(summary_table(cells, options.filter.match), options.format);
    std::string text;
    for (std::size_t i = 0; options.format == TableFormat::text && i < reports.size(); ++i)
        text += heading(reports[i]);
    for (std::size_t i = 0;
         options.format == TableFormat::text && options.command == Command::answers && i < reports.size(); ++i)
        text += "with the whole cache: " + printable(dense_answer(reports[i]).value_or("")) + "\n";
    if (options.format == TableFormat::text && !options.pivot.empty())
        text += options.pivot + " at budget\n";
    return text + to_string(make_table(options, cells), options.format);
}

int run(int argc, char** argv)
{
    const Options options = parse_options(argc, argv);
    switch (options.command) {
    case Command::help:
        std::cout << help();
        return 0;
    case Command::version:
        std::cout << "lava-analyze " << version() << '\n';
        return 0;
    case Command::plot:
        read_report(options.reports[0]); // so that what is wrong with it is said here
        return plot(options.reports[0], options.output);
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
