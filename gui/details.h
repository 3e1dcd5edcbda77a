#pragma once

#include "gui/measure.h"

#include <QString>

namespace lava::gui {

/// One cell of the sweep in numbers, as HTML: asked, granted, retained, losses, spans, parameters.
QString details_html(const Cell& cell);

/// The budget in words: "B = 128 entries per KV head, 3.4 % of N = 3,712"; and where the policy shown has no such
/// budget, at which of its own it is shown.
QString budget_html(const Cell& cell, std::int64_t budget);

} // namespace lava::gui
