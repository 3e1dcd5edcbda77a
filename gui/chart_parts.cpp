#include "gui/chart_parts.h"

#include <QCategoryAxis>
#include <QCoreApplication>
#include <QGraphicsLayout>
#include <QGraphicsScene>
#include <QLegend>
#include <QValueAxis>

namespace lava::gui {

namespace {

constexpr QRgb grid_grey = 0xe4e4e4;

void style_axis(QAbstractAxis& axis, const QString& title)
{
    axis.setTitleText(title);
    axis.setTitleFont(chart_font(9.5));
    axis.setLabelsFont(chart_font(9));
    axis.setLabelsColor(QColor(ink));
    axis.setTitleBrush(QColor(ink));
    axis.setGridLineColor(QColor(grid_grey));
    axis.setLinePenColor(QColor(0x909090));
}

} // namespace

QFont chart_font(double point_size, bool is_bold)
{
    QFont font;
    font.setPointSizeF(point_size);
    font.setBold(is_bold);
    return font;
}

void use_paper_style(QChart& chart)
{
    chart.setBackgroundBrush(Qt::white);
    chart.setBackgroundRoundness(0);
    chart.setBackgroundPen(Qt::NoPen);
    chart.setMargins(QMargins(6, 6, 6, 6));
    chart.layout()->setContentsMargins(0, 0, 0, 0);
    chart.setTitleFont(chart_font(11, true));
    chart.setTitleBrush(QColor(ink));
    chart.legend()->setFont(chart_font(9));
    chart.legend()->setLabelColor(QColor(ink));
    chart.legend()->setMarkerShape(QLegend::MarkerShapeFromSeries);
}

void draw_text(QPainter& painter, const QRectF& where, Qt::Alignment alignment, const QString& text, double size,
    QRgb colour, bool is_bold)
{
    painter.setFont(chart_font(size, is_bold));
    painter.setPen(QColor(colour));
    painter.drawText(where, static_cast<int>(alignment) | Qt::TextSingleLine, text);
}

QString short_name(const QString& policy)
{
    constexpr qsizetype longest = 26;
    if (policy.size() <= longest)
        return policy;
    return policy.left(longest / 2 - 1) + QStringLiteral("…") + policy.right(longest / 2);
}

QAbstractAxis* make_axis(const AxisScale& scale, const std::vector<double>& ticks, const QString& title, bool is_share)
{
    if (!scale.is_logarithmic) {
        auto* axis = new QValueAxis;
        if (is_share) {
            axis->setRange(-2, 102); // so that points at the ends are whole
            axis->setTickType(QValueAxis::TicksDynamic);
            axis->setTickAnchor(0);
            axis->setTickInterval(20);
        } else {
            axis->setRange(scale.begin, scale.end);
            axis->applyNiceNumbers();
        }
        axis->setLabelFormat(is_share ? QStringLiteral("%.0f %") : QStringLiteral("%g"));
        style_axis(*axis, title);
        return axis;
    }
    auto* axis = new QCategoryAxis;
    axis->setLabelsPosition(QCategoryAxis::AxisLabelsPositionOnValue);
    axis->setRange(scale.place(scale.begin), scale.place(scale.end));
    axis->setStartValue(scale.place(scale.begin));
    for (const auto tick : ticks)
        axis->append(QString::number(tick, 'g', 6), scale.place(tick));
    style_axis(*axis, title);
    return axis;
}

void clear_chart(QChart& chart)
{
    chart.removeAllSeries();
    for (auto* axis : chart.axes()) {
        chart.removeAxis(axis);
        delete axis;
    }
    chart.setTitle({});
}

void show_message(QChart& chart, const QString& message)
{
    clear_chart(chart);
    chart.legend()->hide();
    chart.setTitle(QStringLiteral("<br><br><br><span style='font-size:10pt;font-weight:normal'>%1</span>")
                       .arg(message.toHtmlEscaped()));
}

void draw_chart(QChart& chart, QPainter& painter, const QRectF& target)
{
    QGraphicsScene scene;
    scene.addItem(&chart);
    chart.resize(target.size());
    chart.layout()->activate();
    QCoreApplication::processEvents(QEventLoop::ExcludeUserInputEvents); // QtCharts lays out its axes in an event
    scene.setSceneRect(QRectF(QPointF(0, 0), target.size()));
    scene.render(&painter, target, scene.sceneRect());
    scene.removeItem(&chart);
}

} // namespace lava::gui
