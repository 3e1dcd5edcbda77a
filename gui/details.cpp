#include "gui/details.h"

#include "analysis/closed_loop_statistics.h"

#include <QStringList>

namespace lava::gui {

namespace {

QString row(const QString& name, const QString& value)
{
    return QStringLiteral("<tr><td>%1&nbsp;&nbsp;</td><td align='right'>%2</td></tr>")
        .arg(name.toHtmlEscaped(), value.toHtmlEscaped());
}

QString heading(const QString& text)
{
    return QStringLiteral("<tr><td colspan='2' style='padding-top:7px'><b>%1</b></td></tr>").arg(text.toHtmlEscaped());
}

QString measure_rows(const Cell& cell, MeasureOf part)
{
    QString rows;
    for (const auto& measure : measures(cell.report))
        if (measure.part == part)
            rows += row(QString::fromStdString(measure.key), format_value(measure, measure.of_run(cell)));
    return rows;
}

QString loss_rows(const Cell& cell)
{
    if (!cell.report.has_losses())
        return QStringLiteral("<tr><td colspan='2'><i>%1</i></td></tr>")
            .arg(missing_losses(cell.report).toHtmlEscaped());
    return measure_rows(cell, MeasureOf::losses);
}

QString wide_row(const QString& html)
{
    return QStringLiteral("<tr><td colspan='2'>%1</td></tr>").arg(html);
}

/// What the model does from this cache; the answers, where it was let answer.
QString closed_loop_rows(const Cell& cell)
{
    const auto rows = measure_rows(cell, MeasureOf::closed_loop);
    if (rows.isEmpty())
        return rows;
    auto html = heading(QStringLiteral("Closed loop")) + rows;
    const auto here = answer(cell), dense = dense_answer(cell.report);
    if (!here || !dense)
        return html;
    html += heading(QStringLiteral("Answer")) + wide_row(QString::fromStdString(*here).toHtmlEscaped());
    return html
        + wide_row(*here == *dense ? QStringLiteral("<i>as with the whole cache</i>")
                                   : QStringLiteral("<i>with the whole cache:</i> %1")
                                         .arg(QString::fromStdString(*dense).toHtmlEscaped()));
}

QString span_rows(const Cell& cell)
{
    QString rows;
    for (const auto& span : cell.report.trace.spans)
        rows += row(QStringLiteral("%1, %2 tokens").arg(QString::fromStdString(span.name)).arg(span.end - span.begin),
            QStringLiteral("%1 % kept").arg(QString::number(100 * span_survival(cell, span), 'f', 1)));
    return rows.isEmpty() ? rows : heading(QStringLiteral("Spans")) + rows;
}

} // namespace

QString details_html(const Cell& cell)
{
    const auto& replay = cell.replay();
    auto html = QStringLiteral("<table cellspacing='1' width='100%'>");
    html += QStringLiteral("<tr><td colspan='2'><b>%1</b> at B = %2</td></tr>")
                .arg(QString::fromStdString(replay.policy).toHtmlEscaped())
                .arg(replay.budgets[cell.budget]);
    html += row(QStringLiteral("asked"), format_count(replay.asked[cell.budget]));
    if (!replay.nominal.empty() && replay.nominal[cell.budget] != replay.budgets[cell.budget])
        html += row(QStringLiteral("its rule was given B ="), format_count(replay.nominal[cell.budget]));
    html += row(QStringLiteral("granted"), format_count(replay.granted[cell.budget]));
    html += row(QStringLiteral("retained"), format_count(retained(cell)));
    html += span_rows(cell);
    html += closed_loop_rows(cell);
    html += heading(QStringLiteral("Losses")) + loss_rows(cell);
    if (!replay.parameters.empty())
        html += heading(QStringLiteral("Parameters"));
    for (const auto& [name, value] : replay.parameters)
        html += row(QString::fromStdString(name), QString::fromStdString(value));
    return html + QStringLiteral("</table>");
}

QString budget_html(const Cell& cell, std::int64_t budget)
{
    const auto seq_len = cell.report.trace.seq_len;
    auto text = QStringLiteral("<b>B = %1</b> entries per KV head, %2 of N = %3")
                    .arg(format_count(budget), format_share(budget, seq_len), format_count(seq_len));
    const auto own = cell.replay().budgets[cell.budget];
    if (own != budget) {
        text += QStringLiteral(". <b>%1 was not replayed there: shown at its %2, B = %3.</b>")
                    .arg(QString::fromStdString(cell.replay().policy).toHtmlEscaped(),
                        cell.replay().budgets.size() == 1 ? QStringLiteral("only budget") : QStringLiteral("nearest"),
                        format_count(own));
    } else
        text += QStringLiteral(" · asked %1 · granted %2 · retained %3")
                    .arg(format_count(cell.replay().asked[cell.budget]),
                        format_count(cell.replay().granted[cell.budget]), format_count(retained(cell)));
    return text;
}

} // namespace lava::gui
