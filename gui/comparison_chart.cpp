#include "gui/comparison_chart.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"

#include <QAbstractAxis>
#include <QCursor>
#include <QLegend>
#include <QLegendMarker>
#include <QToolTip>

#include <algorithm>
#include <cmath>
#include <set>

namespace lava::gui {

namespace {

/// Zeros have no place on a logarithmic axis; the legend says so where a whole line is missing.
QString legend_name(const Curve& curve, const AxisScale& vertical)
{
    const auto is_hidden = [&](const auto& point) { return !vertical.shows(point.second); };
    if (!curve.points.empty() && std::all_of(curve.points.begin(), curve.points.end(), is_hidden))
        return QStringLiteral("%1 (0 throughout)").arg(curve.name);
    return short_name(curve.name);
}

QString value_title(const std::vector<Curve>& curves, const Measure& measure, const AxisScale& vertical)
{
    const auto hides = [&](const Curve& curve) {
        return std::any_of(
            curve.points.begin(), curve.points.end(), [&](const auto& point) { return !vertical.shows(point.second); });
    };
    const auto key = QString::fromStdString(measure.key).toHtmlEscaped();
    return std::any_of(curves.begin(), curves.end(), hides) ? key + QStringLiteral(" (0 is off this logarithmic axis)")
                                                            : key;
}

} // namespace

ComparisonChart::ComparisonChart(QGraphicsItem* parent)
    : QChart(parent)
{
    use_paper_style(*this);
    legend()->setAlignment(Qt::AlignRight);
}

void ComparisonChart::show_curves(std::vector<Curve> all, const Measure& measure, const QString& missing)
{
    clear_chart(*this);
    curves_ = std::move(all);
    measure_ = measure;
    lines_.clear();
    marker_ = nullptr;
    if (std::all_of(curves_.begin(), curves_.end(), [](const auto& curve) { return curve.points.empty(); })) {
        show_message(*this, missing);
        return;
    }
    const auto horizontal = budget_scale();
    vertical_ = value_scale(curves_, measure.is_share);
    setTitle(measure.label.toHtmlEscaped());
    for (const auto& curve : curves_)
        add_line(curve, horizontal, vertical_);
    marker_ = new QLineSeries;
    marker_->setPen(QPen(QColor(0x808080), 1.2, Qt::DashLine));
    addSeries(marker_);
    add_axes(horizontal, vertical_);
    legend()->show();
    for (auto* entry : legend()->markers(marker_))
        entry->setVisible(false);
}

void ComparisonChart::mark_budget(std::int64_t budget)
{
    if (!marker_)
        return;
    const auto place = std::log10(static_cast<double>(budget));
    const auto factor = measure_.is_share ? 100.0 : 1.0;
    marker_->replace({QPointF(place, factor * vertical_.place(vertical_.begin)),
        QPointF(place, factor * vertical_.place(vertical_.end))});
}

void ComparisonChart::mark_policy(std::size_t policy)
{
    for (std::size_t line = 0; line < lines_.size(); ++line) {
        auto pen = policy_pen(curves_[line].policy);
        const bool is_marked = curves_[line].policy == policy;
        if (is_marked)
            pen.setWidthF(4);
        lines_[line]->setPen(pen);
        lines_[line]->setPointsVisible(is_marked);
    }
}

AxisScale ComparisonChart::budget_scale() const
{
    double first = 0, last = 0;
    for (const auto& curve : curves_) {
        for (const auto& [budget, value] : curve.points) {
            const auto here = static_cast<double>(budget);
            first = first == 0 ? here : std::min(first, here);
            last = std::max(last, here);
        }
    }
    return {true, first / 1.06, last * 1.06};
}

std::vector<double> ComparisonChart::budget_ticks(const AxisScale& scale) const
{
    std::set<double> budgets;
    for (const auto& curve : curves_)
        for (const auto& [budget, value] : curve.points)
            budgets.insert(static_cast<double>(budget));
    return spaced_ticks({budgets.begin(), budgets.end()}, scale, 0.06);
}

void ComparisonChart::add_line(const Curve& curve, const AxisScale& horizontal, const AxisScale& vertical)
{
    auto* line = new QLineSeries;
    line->setName(legend_name(curve, vertical));
    line->setPen(policy_pen(curve.policy));
    const auto factor = measure_.is_share ? 100.0 : 1.0;
    for (const auto& [budget, value] : curve.points)
        if (vertical.shows(value))
            line->append(horizontal.place(static_cast<double>(budget)), factor * vertical.place(value));
    if (line->count() == 1)
        line->setPointsVisible(true); // a single budget would be no line at all
    addSeries(line);
    lines_.push_back(line);
    const auto place = lines_.size() - 1;
    connect(line, &QLineSeries::hovered, this,
        [this, place](const QPointF& point, bool is_over) { tell_point(curves_[place], point, is_over); });
    connect(line, &QLineSeries::clicked, this, [this, policy = curve.policy] { Q_EMIT policy_chosen(policy); });
}

void ComparisonChart::add_axes(const AxisScale& horizontal, const AxisScale& vertical)
{
    auto* below = make_axis(horizontal, budget_ticks(horizontal),
        QStringLiteral("budget B: entries per KV head on average, window included"), false);
    auto* beside = make_axis(vertical, vertical.is_logarithmic ? round_ticks(vertical) : std::vector<double>{},
        value_title(curves_, measure_, vertical), measure_.is_share);
    addAxis(below, Qt::AlignBottom);
    addAxis(beside, Qt::AlignLeft);
    for (auto* line : series()) {
        line->attachAxis(below);
        line->attachAxis(beside);
    }
}

void ComparisonChart::tell_point(const Curve& curve, const QPointF& point, bool is_over) const
{
    if (!is_over || curve.points.empty()) {
        QToolTip::hideText();
        return;
    }
    const auto distance
        = [&](const auto& candidate) { return std::abs(std::log10(static_cast<double>(candidate.first)) - point.x()); };
    const auto nearest = std::min_element(curve.points.begin(), curve.points.end(),
        [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
    QToolTip::showText(QCursor::pos(),
        QStringLiteral("%1 at B = %2: %3")
            .arg(curve.name)
            .arg(nearest->first)
            .arg(format_value(measure_, nearest->second)));
}

} // namespace lava::gui
