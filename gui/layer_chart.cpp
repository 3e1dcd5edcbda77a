#include "gui/layer_chart.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"

#include "traces/recorded_part.h"

#include <QBarSet>
#include <QCategoryAxis>
#include <QLegend>
#include <QLineSeries>
#include <QStackedBarSeries>

#include <algorithm>

namespace lava::gui {

namespace {

/// The layers side by side, with the numbers that they have in the model.
QAbstractAxis* layer_axis(const TraceInfo& trace)
{
    const auto num_layers = trace.shape.num_layers, step = num_layers <= 40 ? std::int64_t{1} : std::int64_t{5};
    auto* axis = new QCategoryAxis;
    axis->setLabelsPosition(QCategoryAxis::AxisLabelsPositionOnValue);
    axis->setRange(-0.5, static_cast<double>(num_layers) - 0.5);
    axis->setStartValue(-0.5);
    for (std::int64_t layer = 0; layer < num_layers; layer += step)
        axis->append(QString::number(layer_number(trace, layer)), static_cast<double>(layer));
    axis->setTitleText(QStringLiteral("layer"));
    axis->setTitleFont(chart_font(9.5));
    axis->setLabelsFont(chart_font(9));
    axis->setGridLineVisible(false);
    return axis;
}

std::vector<double> layer_values(const Cell& cell, const Measure& measure)
{
    std::vector<double> values;
    for (std::int64_t layer = 0; layer < cell.report.trace.shape.num_layers; ++layer)
        if (const auto value = measure.of_layer(cell, layer))
            values.push_back(measure.is_share ? 100 * *value : *value);
    return values;
}

} // namespace

LayerChart::LayerChart(QGraphicsItem* parent)
    : QChart(parent)
{
    use_paper_style(*this);
    legend()->setAlignment(Qt::AlignBottom);
    legend()->setMarkerShape(QLegend::MarkerShapeRectangle); // from the series, bars would have empty squares
}

void LayerChart::show_cell(const Cell& cell, const Measure& measure)
{
    clear_chart(*this);
    legend()->show();
    values_ = layer_values(cell, measure);
    auto* layers = layer_axis(cell.report.trace);
    addAxis(layers, Qt::AlignBottom);
    add_bars(cell, layers);
    QString title = QStringLiteral("%1 at B = %2: entries retained by each layer")
                        .arg(QString::fromStdString(cell.replay().policy).toHtmlEscaped())
                        .arg(cell.replay().budgets[cell.budget]);
    if (!values_.empty())
        add_line(measure, layers);
    else if (measure.part == MeasureOf::losses)
        title += QStringLiteral("<br><span style='font-size:10pt;font-weight:normal'>%1</span>")
                     .arg(missing_losses(cell.report).toHtmlEscaped());
    else
        title
            += QStringLiteral("<br><span style='font-size:10pt;font-weight:normal'>%1: not defined for a layer</span>")
                   .arg(measure.label.toHtmlEscaped());
    setTitle(title);
}

void LayerChart::add_bars(const Cell& cell, QAbstractAxis* layers)
{
    const auto shape = cell.shape();
    auto* bars = new QStackedBarSeries;
    bars->setBarWidth(0.8);
    std::int64_t highest = 1;
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        auto* set = new QBarSet(QStringLiteral("%1 %2").arg(head_kind(cell)).arg(cache_head_number(cell, head)));
        for (std::int64_t layer = 0; layer < shape.num_layers; ++layer)
            set->append(static_cast<double>(retained(cell, HeadId{layer, head})));
        set->setColor(head_colour(static_cast<std::size_t>(head), static_cast<std::size_t>(shape.num_kv_heads)));
        set->setBorderColor(Qt::white);
        bars->append(set);
    }
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer)
        highest = std::max(highest, retained(cell, layer));
    addSeries(bars);
    auto* entries = make_axis({false, 0, static_cast<double>(highest)}, {}, QStringLiteral("entries retained"), false);
    addAxis(entries, Qt::AlignLeft);
    bars->attachAxis(layers);
    bars->attachAxis(entries);
}

void LayerChart::add_line(const Measure& measure, QAbstractAxis* layers)
{
    auto* line = new QLineSeries;
    line->setName(measure.label);
    line->setPen(QPen(QColor(0x0057c2), 2.2));
    line->setPointsVisible(true);
    for (std::size_t layer = 0; layer < values_.size(); ++layer)
        line->append(static_cast<double>(layer), values_[layer]);
    addSeries(line);
    const auto highest = *std::max_element(values_.begin(), values_.end());
    const AxisScale scale{false, 0, measure.is_share || highest <= 0 ? 1 : highest};
    auto* axis = make_axis(scale, {}, QString::fromStdString(measure.key).toHtmlEscaped(), measure.is_share);
    if (measure.is_share)
        axis->setRange(0, 102); // zero at the foot of the bars
    axis->setGridLineVisible(false);
    axis->setLabelsColor(QColor(0x0057c2));
    addAxis(axis, Qt::AlignRight);
    line->attachAxis(layers);
    line->attachAxis(axis);
}

} // namespace lava::gui
