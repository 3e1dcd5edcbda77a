#include "analysis/quantities.h"
#include "analysis/table_rows.h"
#include "analysis/tables.h"
#include "base/error.h"

#include <algorithm>
#include <string_view>

namespace lava {

namespace {

bool any_closed_loop(std::span<const Cell> cells)
{
    return std::ranges::any_of(cells, [](const Cell& cell) { return !cell.report.closed_loop.empty(); });
}

/// A column of something that a cell may lack.
template <typename Get> ColumnOf optional_column(const char* name, bool in_text, Get get)
{
    return {{name, in_text}, [get](const Subject& subject) -> Value {
                if (const auto value = get(subject))
                    return *value;
                return {};
            }};
}

ColumnOf run_column(const ClosedLoopColumn& measure, bool in_text)
{
    return optional_column(measure.display.column, in_text,
        [of_run = measure.of_run](const Subject& subject) { return of_run(subject.cell); });
}

constexpr std::size_t short_answer = 48; // characters; longer ones have their own command

} // namespace

Columns closed_loop_columns(std::span<const Cell> cells)
{
    const bool shown = any_closed_loop(cells);
    Columns columns;
    for (const ClosedLoopColumn& measure : closed_loop_measures())
        columns.push_back(run_column(measure, shown && measure.display.in_text));
    columns.push_back({{"answer_steps", false}, [](const Subject& subject) -> Value {
                           const auto& report = subject.cell.report;
                           return report.closed_loop.empty() ? Value() : Value(answer_steps(report));
                       }});
    const auto length = [](const Cell& cell) { return answer(cell).value_or("").size(); };
    const bool any = std::ranges::any_of(cells, [](const Cell& cell) { return answer(cell).has_value(); });
    const bool all_short = std::ranges::all_of(cells, [&](const Cell& cell) { return length(cell) <= short_answer; });
    columns.push_back(
        optional_column("answer", any && all_short, [](const Subject& subject) { return answer(subject.cell); }));
    return columns;
}

Columns drift_columns(std::span<const Cell> cells)
{
    Columns columns;
    for (const ClosedLoopColumn& measure : closed_loop_measures()) {
        if (measure.of_layer == nullptr)
            continue;
        columns.push_back(optional_column(measure.display.column, measure.in_text_of_layers && any_closed_loop(cells),
            [of_layer = measure.of_layer](
                const Subject& subject) { return of_layer(subject.cell, subject.head.layer); }));
    }
    return columns;
}

Table answer_table(std::span<const Cell> cells)
{
    for (const Cell& cell : cells) {
        if (!dense_answer(cell.report))
            throw Error(cell.report.file + ": the report has no answers; lava-replay --closed-loop --free makes them");
    }
    Columns columns = key_columns(cells);
    columns.push_back({{"retained"}, [](const Subject& subject) { return retained(subject.cell); }});
    for (const ClosedLoopColumn& measure : closed_loop_measures()) {
        if (measure.display.in_text)
            columns.push_back(run_column(measure, true));
    }
    columns.push_back(optional_column("same_as_dense", true, [](const Subject& subject) {
        const auto same = same_as_dense(subject.cell);
        return same ? std::optional<std::string>(*same ? "yes" : "no") : std::nullopt;
    }));
    columns.push_back(optional_column("answer", true, [](const Subject& subject) { return answer(subject.cell); }));
    columns.push_back(optional_column(
        "dense_answer", false, [](const Subject& subject) { return dense_answer(subject.cell.report); }));
    Rows rows(std::move(columns));
    for (const Cell& cell : cells)
        rows.add({.cell = cell});
    return rows.take();
}

} // namespace lava
