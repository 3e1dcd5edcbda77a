#pragma once

#include "analysis/selection.h"
#include "analysis/table.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lava {

/// How much less loss 3 (layer attention output loss, absolute L1) one policy leaves than another, after table 14 of
/// the LAVa paper: at equal nominal budgets and at equal retention, per budget and layer, the means over the reports
/// that have both, and gain = 1 - other / base. `layers` counts from the end where negative; empty: first and last.
/// Throws Error where a policy is unknown or names several, a layer does not exist, or no report has losses of both.
Table gain_table(std::span<const ReplayReport> reports, const std::string& base, const std::string& other,
    std::span<const std::int64_t> budgets, std::vector<std::int64_t> layers);

} // namespace lava
