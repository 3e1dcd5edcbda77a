#pragma once

#include "gui/score_chart.h"

#include <QPainter>

namespace lava::gui {

/// How many prompts each policy wins, ties and loses against the baseline, a bar for each. `rows`: of one task at one
/// share, those that are compared; at least one.
void draw_wins(QPainter& painter, const QRectF& area, const std::vector<ScoreRow>& rows, const QString& baseline);

/// The height that draw_wins needs.
int height_of_wins(std::size_t policies);

/// Scores of a needle by length of the context and depth in it, of one policy at one share, or of the whole cache.
/// `rows`: of one metric, at least one.
void draw_needles(
    QPainter& painter, const QRectF& area, const std::vector<ScoreRow>& rows, bool whole_cache, const QString& title);

} // namespace lava::gui
