#pragma once

#include "gui/curves.h"

#include <QChart>
#include <QLineSeries>

namespace lava::gui {

/// A measure against the budget, one line per policy, with the current budget and policy marked.
class ComparisonChart : public QChart
{
    Q_OBJECT
public:
    explicit ComparisonChart(QGraphicsItem* parent = nullptr);

    /// `missing` is shown where no policy has a value.
    void show_curves(std::vector<Curve> curves, const Measure& measure, const QString& missing);
    void mark_budget(std::int64_t budget);
    void mark_policy(std::size_t policy);

    const std::vector<Curve>& shown() const { return curves_; }

Q_SIGNALS:
    void policy_chosen(std::size_t policy);

private:
    AxisScale budget_scale() const;
    std::vector<double> budget_ticks(const AxisScale& scale) const;
    void add_line(const Curve& curve, const AxisScale& horizontal, const AxisScale& vertical);
    void add_axes(const AxisScale& horizontal, const AxisScale& vertical);
    void tell_point(const Curve& curve, const QPointF& point, bool is_over) const;

    std::vector<Curve> curves_;
    Measure measure_;
    std::vector<QLineSeries*> lines_; // a line for each of curves_, in their order
    QLineSeries* marker_ = nullptr;
    AxisScale vertical_;
};

} // namespace lava::gui
