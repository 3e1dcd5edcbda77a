#include "gui/curves.h"

#include <algorithm>
#include <cmath>

namespace lava::gui {

std::vector<Curve> curves(const ReplayReport& report, const MeasureTable& values)
{
    std::vector<Curve> result;
    for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
        const auto& replay = report.policies[policy];
        Curve curve{policy, QString::fromStdString(replay.policy), {}};
        for (std::size_t budget = 0; budget < replay.budgets.size(); ++budget)
            if (const auto value = values[policy][budget])
                curve.points.emplace_back(replay.budgets[budget], *value);
        result.push_back(std::move(curve));
    }
    return result;
}

double AxisScale::place(double value) const
{
    return is_logarithmic ? std::log10(value) : value;
}

AxisScale value_scale(const std::vector<Curve>& all, bool is_share)
{
    if (is_share)
        return {false, 0, 1};
    double smallest = 0, largest = 0;
    for (const auto& curve : all) {
        for (const auto& [budget, value] : curve.points) {
            if (value > 0 && (smallest == 0 || value < smallest))
                smallest = value;
            largest = std::max(largest, value);
        }
    }
    if (smallest > 0 && largest / smallest > 8)
        return {true, smallest / 1.15, largest * 1.15};
    return {false, 0, largest > 0 ? largest * 1.05 : 1};
}

std::vector<double> round_ticks(const AxisScale& scale)
{
    const auto first = static_cast<int>(std::floor(std::log10(scale.begin)));
    const auto last = static_cast<int>(std::ceil(std::log10(scale.end)));
    const bool is_wide = std::log10(scale.end / scale.begin) >= 3;
    std::vector<double> ticks;
    for (int exponent = first; exponent <= last; ++exponent) {
        for (const double digit : {1.0, 2.0, 5.0}) {
            const auto value = digit * std::pow(10.0, exponent);
            if (value >= scale.begin && value <= scale.end && (digit == 1 || !is_wide))
                ticks.push_back(value);
        }
    }
    return ticks;
}

std::vector<double> spaced_ticks(const std::vector<double>& values, const AxisScale& scale, double gap)
{
    const auto length = scale.place(scale.end) - scale.place(scale.begin);
    std::vector<double> ticks;
    for (const auto value : values)
        if (ticks.empty() || scale.place(value) - scale.place(ticks.back()) >= gap * length)
            ticks.push_back(value);
    return ticks;
}

} // namespace lava::gui
