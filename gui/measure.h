#pragma once

#include "analysis/statistics.h"

#include <QString>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lava::gui {

/// The part of a report that a measure speaks of.
enum class MeasureOf
{
    losses, ///< open loop: of the recorded residual stream
    closed_loop, ///< what the model does from the evicted cache
    spans
};

/// A number of analysis/statistics.h that lists and charts can show; nothing where the report does not have it.
struct Measure
{
    std::string key; ///< the column of lava-analyze: "attn_out_l1_relative"; of a span: "survival_needle"
    QString label;
    QString heading; ///< of a narrow column
    bool is_share = false; ///< in [0, 1], shown in percent on a linear axis
    MeasureOf part = MeasureOf::losses;
    std::function<std::optional<double>(const Cell&)> of_run;
    std::function<std::optional<double>(const Cell&, std::int64_t layer)> of_layer;
};

/// All that this report can be asked for: losses and tightness (without values where its trace had no loss part), the
/// layers' outputs and the closed loop where it has them, and two for each span.
std::vector<Measure> measures(const ReplayReport& report);

/// Values of a measure over the whole sweep: [policy][that policy's budget].
using MeasureTable = std::vector<std::vector<std::optional<double>>>;
MeasureTable tabulate(const ReplayReport& report, const Measure& measure);

/// Three significant digits; shares in percent; an en dash where there is nothing.
QString format_value(const Measure& measure, std::optional<double> value);

/// What keeps a cache of its own under the cell's policy: "KV head" or "query head".
QString head_kind(const Cell& cell);

/// 11520 as "11,520".
QString format_count(std::int64_t count);

/// `part` of `whole` as "3.4 %".
QString format_share(std::int64_t part, std::int64_t whole);

/// Why a report without losses has none, as a sentence for the place where they would be.
QString missing_losses(const ReplayReport& report);

} // namespace lava::gui
