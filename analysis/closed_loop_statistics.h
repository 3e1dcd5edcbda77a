#pragma once

#include "analysis/statistics.h"

#include <optional>
#include <string>

namespace lava {

/// The closed loop of a cell (method: section 3.2): means over steps; relative drift is a ratio of sums over layers and
/// steps.
struct ClosedLoopSummary
{
    double kl = 0; ///< nats
    std::optional<double> cross_entropy; ///< nats; nothing where the loop took one step
    double top1_agreement = 0; ///< share of the steps whose most likely token is the dense run's
    double drift_l1_relative = 0;
    double drift_l2_relative = 0;
};

/// Nothing where the report has no closed loop.
std::optional<ClosedLoopSummary> closed_loop(const Cell& cell);

/// Drift of the residual stream after one layer, relative to the dense run's; nothing where the report has none.
struct LayerDrift
{
    double l1_relative = 0;
    double l2_relative = 0;
};
std::optional<LayerDrift> drift(const Cell& cell, std::int64_t layer);

/// What the cell, or the dense run, answers by itself, up to the token that ends an answer; ids in brackets, as "[17]",
/// where the report knows no text. Nothing where no answers were asked for.
std::optional<std::string> answer(const Cell& cell);
std::optional<std::string> dense_answer(const ReplayReport& report);

} // namespace lava
