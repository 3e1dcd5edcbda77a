#include "analysis/closed_loop_statistics.h"
#include "analysis/table_rows.h"
#include "analysis/tables.h"
#include "base/error.h"

#include <algorithm>
#include <type_traits>

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

/// A column of the closed loop's summary.
template <typename Member> ColumnOf summary_column(const char* name, bool in_text, Member member)
{
    return {{name, in_text}, [member](const Subject& subject) -> Value {
                const auto summary = closed_loop(subject.cell);
                if (!summary)
                    return {};
                if constexpr (std::is_same_v<Member, double ClosedLoopSummary::*>)
                    return (*summary).*member;
                else if (const auto value = (*summary).*member)
                    return *value;
                return {};
            }};
}

constexpr std::size_t short_answer = 48; // characters; longer ones have their own command

} // namespace

Columns closed_loop_columns(std::span<const Cell> cells)
{
    const bool shown = any_closed_loop(cells);
    Columns columns{summary_column("kl", shown, &ClosedLoopSummary::kl),
        summary_column("cross_entropy", false, &ClosedLoopSummary::cross_entropy),
        summary_column("top1_agreement", shown, &ClosedLoopSummary::top1_agreement),
        summary_column("drift_l1_relative", false, &ClosedLoopSummary::drift_l1_relative),
        summary_column("drift_l2_relative", false, &ClosedLoopSummary::drift_l2_relative),
        optional_column("kl_all_steps", false, [](const Subject& subject) { return kl_of_all_steps(subject.cell); }),
        {{"answer_steps", false}, [](const Subject& subject) -> Value {
             const auto& report = subject.cell.report;
             return report.closed_loop.empty() ? Value() : Value(answer_steps(report));
         }}};
    const auto length = [](const Cell& cell) { return answer(cell).value_or("").size(); };
    const bool any = std::ranges::any_of(cells, [](const Cell& cell) { return answer(cell).has_value(); });
    const bool all_short = std::ranges::all_of(cells, [&](const Cell& cell) { return length(cell) <= short_answer; });
    columns.push_back(
        optional_column("answer", any && all_short, [](const Subject& subject) { return answer(subject.cell); }));
    return columns;
}

Columns drift_columns(std::span<const Cell> cells)
{
    const auto column = [](const char* name, bool in_text, double LayerDrift::*member) {
        return optional_column(name, in_text, [member](const Subject& subject) -> std::optional<double> {
            const auto of_layer = drift(subject.cell, subject.head.layer);
            return of_layer ? std::optional((*of_layer).*member) : std::nullopt;
        });
    };
    return {column("drift_l1_relative", false, &LayerDrift::l1_relative),
        column("drift_l2_relative", any_closed_loop(cells), &LayerDrift::l2_relative)};
}

Table answer_table(std::span<const Cell> cells)
{
    for (const Cell& cell : cells) {
        if (!dense_answer(cell.report))
            throw Error(cell.report.file + ": the report has no answers; lava-replay --closed-loop --free makes them");
    }
    Columns columns = key_columns(cells);
    columns.push_back({{"retained"}, [](const Subject& subject) { return retained(subject.cell); }});
    columns.push_back(summary_column("kl", true, &ClosedLoopSummary::kl));
    columns.push_back(summary_column("top1_agreement", true, &ClosedLoopSummary::top1_agreement));
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
