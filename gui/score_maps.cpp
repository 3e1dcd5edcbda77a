#include "gui/score_maps.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace lava::gui {

namespace {

constexpr QRgb won_colour = 0x2a9d6f, tied_colour = 0xd4d4d4, lost_colour = 0xd5653a;
constexpr double bar_height = 26, bars_top = 66, name_width = 230, gain_width = 210;

void draw_title(QPainter& painter, const QRectF& area, const QString& title, const QString& below)
{
    draw_text(painter, {area.left() + 12, area.top() + 6, area.width() - 24, 22}, Qt::AlignLeft, title, 11, ink, true);
    draw_text(painter, {area.left() + 12, area.top() + 30, area.width() - 24, 18}, Qt::AlignLeft, below, 9, faint);
}

QString in_points(double share)
{
    const auto points = QString::number(100 * std::abs(share), 'f', 1);
    if (points == QStringLiteral("0.0"))
        return points;
    return (share < 0 ? QStringLiteral("−") : QStringLiteral("+")) + points;
}

/// "+2.5 (−1.0 to +6.1)".
QString gain_text(const PairedDifference& difference)
{
    const auto mean = in_points(*difference.mean.value);
    if (!difference.low || !difference.high)
        return mean;
    return QStringLiteral("%1 (%2 to %3)").arg(mean, in_points(*difference.low), in_points(*difference.high));
}

void draw_bar(QPainter& painter, const QRectF& bar, const BaselineComparison& compared)
{
    const auto all = static_cast<double>(compared.won + compared.tied + compared.lost);
    auto left = bar.left();
    for (const auto& [count, colour] : {std::pair(compared.won, won_colour), std::pair(compared.tied, tied_colour),
             std::pair(compared.lost, lost_colour)}) {
        const QRectF part(left, bar.top(), bar.width() * static_cast<double>(count) / all, bar.height());
        painter.fillRect(part, QColor(colour));
        if (part.width() > 18)
            draw_text(painter, part, Qt::AlignCenter, QString::number(count), 9, readable_on(QColor(colour)).rgb());
        left = part.right();
    }
}

/// The different values, ascending.
std::vector<double> values_of(const std::vector<ScoreRow>& rows, std::optional<double> ScoreRow::*value)
{
    std::set<double> values;
    for (const auto& row : rows)
        values.insert((row.*value).value_or(0));
    return {values.begin(), values.end()};
}

double place_of(const std::vector<double>& values, double value)
{
    return static_cast<double>(std::lower_bound(values.begin(), values.end(), value) - values.begin());
}

void draw_scale(QPainter& painter, const QRectF& where)
{
    constexpr int steps = 100;
    for (int step = 0; step < steps; ++step) {
        const auto height = where.height() / steps;
        painter.fillRect(QRectF(where.left(), where.bottom() - (step + 1) * height, where.width(), height + 0.5),
            heat_colour((step + 0.5) / steps));
    }
    for (const int percent : {0, 50, 100})
        draw_text(painter, {where.right() + 4, where.bottom() - where.height() * percent / 100 - 8, 48, 16},
            Qt::AlignLeft | Qt::AlignVCenter, QStringLiteral("%1 %").arg(percent));
}

} // namespace

int height_of_wins(std::size_t policies)
{
    return static_cast<int>(bars_top + bar_height * static_cast<double>(policies) + 16);
}

void draw_wins(QPainter& painter, const QRectF& area, const std::vector<ScoreRow>& rows, const QString& baseline)
{
    draw_title(painter, area,
        QStringLiteral("%1 at %2: prompts won, tied and lost against %3")
            .arg(task_title(rows.front()), percent_text(rows.front()), baseline),
        QStringLiteral("green: scores higher, grey: the same, orange: lower; right: difference of the mean score in "
                       "points, 95 % interval"));
    auto top = area.top() + bars_top;
    for (const auto& row : rows) {
        const QRectF bar(area.left() + name_width, top, area.width() - name_width - gain_width, bar_height - 6);
        draw_text(painter, {area.left() + 12, top, name_width - 22, bar.height()}, Qt::AlignRight | Qt::AlignVCenter,
            short_name(QString::fromStdString(row.policy)));
        draw_bar(painter, bar, *row.compared);
        draw_text(painter, {bar.right() + 10, top, gain_width - 16, bar.height()}, Qt::AlignLeft | Qt::AlignVCenter,
            gain_text(row.compared->difference));
        top += bar_height;
    }
}

void draw_needles(
    QPainter& painter, const QRectF& area, const std::vector<ScoreRow>& rows, bool whole_cache, const QString& title)
{
    const auto lengths = values_of(rows, &ScoreRow::length), depths = values_of(rows, &ScoreRow::depth);
    const QRectF map(area.left() + 90, area.top() + 62, area.width() - 190, area.height() - 122);
    const auto width = map.width() / static_cast<double>(lengths.size());
    const auto height = map.height() / static_cast<double>(depths.size());
    draw_title(painter, area, title, task_title(rows.front()));
    painter.fillRect(map, QColor(0xe8e8e8)); // what was not asked
    for (const auto& row : rows) {
        const auto score = whole_cache ? row.dense : *row.score.mean.value;
        const QRectF cell(map.left() + place_of(lengths, row.length.value_or(0)) * width,
            map.top() + place_of(depths, row.depth.value_or(0)) * height, width, height);
        painter.fillRect(cell.adjusted(0.5, 0.5, -0.5, -0.5), heat_colour(score));
        if (width > 30 && height > 13)
            draw_text(painter, cell, Qt::AlignCenter, QString::number(100 * score, 'f', 0), 9,
                readable_on(heat_colour(score)).rgb());
    }
    const auto across = std::max<std::size_t>(1, lengths.size() * 46 / static_cast<std::size_t>(map.width() + 1) + 1);
    for (std::size_t i = 0; i < lengths.size(); i += across)
        draw_text(painter, {map.left() + static_cast<double>(i) * width - 20, map.bottom() + 4, width + 40, 16},
            Qt::AlignCenter, QString::number(lengths[i], 'g', 8));
    const auto down = std::max<std::size_t>(1, depths.size() * 14 / static_cast<std::size_t>(map.height() + 1) + 1);
    for (std::size_t i = 0; i < depths.size(); i += down)
        draw_text(painter, {area.left(), map.top() + static_cast<double>(i) * height, 82, height},
            Qt::AlignRight | Qt::AlignVCenter, QString::number(depths[i], 'g', 4) + QStringLiteral(" %"));
    draw_text(painter, {map.left(), map.bottom() + 24, map.width(), 18}, Qt::AlignCenter,
        QStringLiteral("length of the context in tokens; down: depth of the needle in it"), 9, faint);
    draw_scale(painter, {map.right() + 24, map.top(), 14, map.height()});
}

} // namespace lava::gui
