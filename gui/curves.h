#pragma once

#include "gui/measure.h"

#include <QString>

namespace lava::gui {

/// A measure of one policy over its budgets.
struct Curve
{
    std::size_t policy = 0; ///< place in the report
    QString name;
    std::vector<std::pair<std::int64_t, double>> points; ///< budget, value; ascending
};

/// A curve for each policy; without points where the report lacks the measure.
std::vector<Curve> curves(const ReplayReport& report, const MeasureTable& values);

/// One axis: linear, or logarithmic, in which case value v is drawn at log10(v).
struct AxisScale
{
    bool is_logarithmic = false;
    double begin = 0; ///< in values
    double end = 1;

    double place(double value) const; ///< where the value is drawn, in the axis' own units
    bool shows(double value) const { return !is_logarithmic || value > 0; }
};

/// Logarithmic where the positive values span more than a factor of eight, unless they are shares.
AxisScale value_scale(const std::vector<Curve>& curves, bool is_share);

/// Round values (1, 2, 5 times powers of ten; only powers from three decades on) within a logarithmic scale.
std::vector<double> round_ticks(const AxisScale& scale);

/// The `values` (ascending) that leave room for labels on a logarithmic axis: at least `gap` of its length apart.
std::vector<double> spaced_ticks(const std::vector<double>& values, const AxisScale& scale, double gap);

} // namespace lava::gui
