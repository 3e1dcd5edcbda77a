#include "gui/measure.h"

#include "analysis/quantities.h"
#include "gui/sweep.h"

#include <QLocale>

#include <algorithm>
#include <filesystem>
#include <map>

namespace lava::gui {

namespace {

Measure shown(const Display& display, MeasureOf part)
{
    return {display.column, QString::fromUtf8(display.label), QString::fromUtf8(display.heading), display.is_share,
        part, {}, {}};
}

Measure from_losses(const LossColumn& column)
{
    const auto take = [column](const std::optional<LossSummary>& summary) {
        return summary ? std::optional(column.of(*summary)) : std::nullopt;
    };
    auto measure = shown(column.display, MeasureOf::losses);
    measure.of_run = [take](const Cell& cell) { return take(losses(cell)); };
    measure.of_layer = [take](const Cell& cell, std::int64_t layer) { return take(losses(cell, layer)); };
    return measure;
}

Measure from_closed_loop(const ClosedLoopColumn& column)
{
    auto measure = shown(column.display, MeasureOf::closed_loop);
    measure.of_run = column.of_run;
    measure.of_layer = [of_layer = column.of_layer](const Cell& cell, std::int64_t layer) {
        return of_layer ? of_layer(cell, layer) : std::nullopt;
    };
    return measure;
}

Measure from_span(const SpanColumn& column, const Span& span)
{
    auto measure = shown(column.display, MeasureOf::spans);
    measure.key = column.prefix + span.name;
    measure.label.replace(QStringLiteral("NAME"), QString::fromStdString(span.name));
    measure.of_run = [span, number = column.number](const Cell& cell) { return span_fate(cell, span).*number; };
    measure.of_layer = [span, column](const Cell& cell, std::int64_t layer) {
        return column.is_of_layers ? std::optional(span_fate(cell, span, layer).*column.number) : std::nullopt;
    };
    return measure;
}

const QLocale& english()
{
    static const QLocale locale(QLocale::English);
    return locale;
}

} // namespace

std::vector<Measure> measures(const ReplayReport& report)
{
    std::multimap<int, Measure> places; // a place taken twice shows both
    for (const auto& column : loss_columns())
        if (column.needs != Needs::model || report.has_layer_outputs())
            places.emplace(column.display.window_place, from_losses(column));
    for (const auto& column : closed_loop_measures())
        if (!report.closed_loop.empty())
            places.emplace(column.display.window_place, from_closed_loop(column));
    places.erase(0);
    std::vector<Measure> result;
    for (auto& [place, measure] : places)
        result.push_back(std::move(measure));
    auto spans = report.trace.spans;
    if (const auto marked = span_to_mark(report.trace))
        std::rotate(spans.begin(), spans.begin() + static_cast<std::ptrdiff_t>(*marked), spans.end());
    for (const auto& span : spans)
        for (const auto& column : span_measures())
            result.push_back(from_span(column, span));
    return result;
}

MeasureTable tabulate(const ReplayReport& report, const Measure& measure)
{
    MeasureTable table;
    for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
        auto& row = table.emplace_back();
        for (std::size_t budget = 0; budget < report.policies[policy].budgets.size(); ++budget)
            row.push_back(measure.of_run({report, policy, budget}));
    }
    return table;
}

QString format_value(const Measure& measure, std::optional<double> value)
{
    if (!value)
        return QStringLiteral("–");
    if (measure.is_share)
        return QString::number(*value * 100, 'f', 1) + QStringLiteral(" %");
    return QString::number(*value, 'g', 3);
}

QString head_kind(const Cell& cell)
{
    return cell.is_per_query_head() ? QStringLiteral("query head") : QStringLiteral("KV head");
}

QString format_count(std::int64_t count)
{
    return english().toString(static_cast<qlonglong>(count));
}

QString format_share(std::int64_t part, std::int64_t whole)
{
    const auto percent = whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
    return QString::number(percent, 'f', percent < 10 ? 2 : 1) + QStringLiteral(" %");
}

QString missing_losses(const ReplayReport& report)
{
    const std::filesystem::path trace(report.trace.file);
    return QStringLiteral("No losses: the trace %1 was recorded without its loss part (evaluation steps and W_O).")
        .arg(QString::fromStdString(trace.filename().string()));
}

} // namespace lava::gui
