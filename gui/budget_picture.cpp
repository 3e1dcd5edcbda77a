#include "gui/budget_picture.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"
#include "gui/measure.h"

#include "traces/recorded_part.h"

#include <algorithm>
#include <cmath>

namespace lava::gui {

namespace {

constexpr double left_margin = 48, right_margin = 14, top_margin = 62, bottom_margin = 74, gap = 28;

/// Few entries among many positions would be too pale to see on a linear scale.
double position_shade(double share)
{
    return std::sqrt(share);
}

void draw_titles(QPainter& painter, const QRectF& area, const BudgetLayout& layout, const Cell& cell)
{
    const auto title = QStringLiteral("%1 at B = %2")
                           .arg(QString::fromStdString(cell.replay().policy))
                           .arg(cell.replay().budgets[cell.budget]);
    draw_text(painter, {area.left() + 10, area.top() + 4, area.width() - 20, 20}, Qt::AlignLeft | Qt::AlignVCenter,
        title, 11, ink, true);
    const auto y = area.top() + 24;
    // the map of few KV heads is narrower than its title, which may begin above the row labels
    constexpr double title_width = 180;
    const auto end = layout.positions().left() - 8;
    const auto begin = std::max(area.left() + 10, std::min(layout.map().left(), end - title_width));
    draw_text(painter, {begin, y, end - begin, 16}, Qt::AlignLeft,
        end - begin < title_width ? QStringLiteral("Entries retained")
                                  : QStringLiteral("Entries retained, by %1").arg(head_kind(cell)),
        9, faint);
    draw_text(painter, {layout.positions().left(), y, layout.positions().width(), 16}, Qt::AlignLeft,
        QStringLiteral("Where in the prompt each layer keeps them"), 9, faint);
}

void draw_row_labels(QPainter& painter, const BudgetLayout& layout, const TraceInfo& trace)
{
    const auto step = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(13 / layout.row_height())));
    draw_text(painter, {layout.map().left() - 47, layout.map().top() - 20, 42, 18}, Qt::AlignRight | Qt::AlignVCenter,
        QStringLiteral("layer"), 9, faint);
    for (std::int64_t layer = 0; layer < trace.shape.num_layers; layer += step) {
        const auto row = layout.cell({layer, 0});
        draw_text(painter, {row.left() - 45, row.center().y() - 8, 40, 16}, Qt::AlignRight | Qt::AlignVCenter,
            QString::number(layer_number(trace, layer)), 8.5);
    }
}

void draw_map(QPainter& painter, const BudgetLayout& layout, const BudgetModel& model)
{
    const auto columns = model.columnCount(), rows = model.rowCount();
    painter.setFont(chart_font(8.5));
    const auto widest = painter.fontMetrics().horizontalAdvance(format_count(model.scale_end()));
    const auto first = layout.cell({0, 0});
    const bool numbers_fit = first.width() > widest + 6 && first.height() >= 12;
    for (int column = 0; column < columns; ++column) {
        const auto cell = layout.cell({0, column});
        if (first.width() >= 18 || column % 4 == 0)
            draw_text(painter, {cell.left() - 8, layout.map().top() - 20, cell.width() + 16, 18}, Qt::AlignCenter,
                QString::number(cache_head_number(*model.cell(), column)), 8.5);
    }
    for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < columns; ++column) {
            const auto index = model.index(row, column);
            const auto cell = layout.cell({row, column});
            painter.fillRect(cell.adjusted(0, 0, -1, -0.6), model.data(index, Qt::BackgroundRole).value<QColor>());
            if (numbers_fit)
                draw_text(painter, cell, Qt::AlignCenter, format_count(model.data(index, Qt::DisplayRole).toLongLong()),
                    8.5, model.data(index, Qt::ForegroundRole).value<QColor>().rgb());
        }
    }
}

struct BarTick
{
    double place; ///< along the bar, in [0, 1]
    QString label;
};

void draw_colour_bar(QPainter& painter, const QRectF& bar, const std::vector<BarTick>& ticks, const QString& caption)
{
    QLinearGradient gradient(bar.topLeft(), bar.topRight());
    for (int stop = 0; stop <= 10; ++stop)
        gradient.setColorAt(stop / 10.0, heat_colour(stop / 10.0));
    painter.fillRect(bar, gradient);
    painter.setPen(QPen(QColor(0xb0b0b0), 0.8));
    painter.drawRect(bar);
    for (const auto& tick : ticks) {
        const auto x = bar.left() + tick.place * bar.width();
        painter.setPen(QPen(QColor(faint), 1));
        painter.drawLine(QPointF(x, bar.bottom()), QPointF(x, bar.bottom() + 3));
        draw_text(painter, {x - 40, bar.bottom() + 3, 80, 14}, Qt::AlignHCenter | Qt::AlignTop, tick.label, 8);
    }
    draw_text(painter, {bar.right() + 24, bar.top() - 3, 320, bar.height() + 6}, Qt::AlignLeft | Qt::AlignVCenter,
        caption, 8.5, faint);
}

void draw_colour_bars(QPainter& painter, const QRectF& area, const BudgetLayout& layout, const BudgetModel& model)
{
    const auto y = area.bottom() - 30;
    const auto end = model.scale_end();
    const QRectF left(layout.map().left(), y, std::max(120.0, std::min(layout.map().width(), 220.0)), 11);
    draw_colour_bar(
        painter, left, {{0, QStringLiteral("0")}, {0.5, format_count(end / 2)}, {1, format_count(end)}}, QString());
    const auto& positions = layout.positions();
    const QRectF right(std::max(positions.left(), left.right() + 50), y, 160, 11);
    std::vector<BarTick> ticks;
    for (const int percent : {0, 10, 25, 50, 100})
        ticks.push_back({position_shade(percent / 100.0), QString::number(percent)});
    draw_colour_bar(painter, right, ticks, QStringLiteral("% of the layer's entries there that are kept"));
}

void draw_position_axis(QPainter& painter, const BudgetLayout& layout, std::int64_t seq_len)
{
    const auto& frame = layout.positions();
    painter.setPen(QPen(QColor(0xb0b0b0), 0.8));
    painter.drawRect(frame);
    const auto magnitude = std::pow(10.0, std::floor(std::log10(static_cast<double>(seq_len) / 4)));
    const auto ratio = static_cast<double>(seq_len) / 4 / magnitude;
    const auto step = std::max<std::int64_t>(1,
        static_cast<std::int64_t>(magnitude
            * (ratio >= 5        ? 5
                    : ratio >= 2 ? 2
                                 : 1)));
    for (std::int64_t position = 0; position < seq_len; position += step) {
        const auto x = layout.position_x(position);
        painter.setPen(QPen(QColor(faint), 1));
        painter.drawLine(QPointF(x, frame.bottom()), QPointF(x, frame.bottom() + 4));
        draw_text(
            painter, {x - 40, frame.bottom() + 4, 80, 14}, Qt::AlignHCenter | Qt::AlignTop, format_count(position), 8);
    }
}

void draw_span(QPainter& painter, const BudgetLayout& layout, const Span& span)
{
    const auto& frame = layout.positions();
    const auto left = layout.position_x(span.begin), right = std::max(layout.position_x(span.end), left + 1.5);
    auto line_colour = span_colour();
    line_colour.setAlphaF(0.6F); // what it lies over stays visible
    painter.setPen(QPen(line_colour, 1));
    painter.drawLine(QPointF(left - 0.5, frame.top() - 4), QPointF(left - 0.5, frame.bottom()));
    painter.drawLine(QPointF(right + 0.5, frame.top() - 4), QPointF(right + 0.5, frame.bottom()));
    const auto centre = std::clamp((left + right) / 2, frame.left() + 30, frame.right() - 30);
    draw_text(painter, {centre - 100, frame.top() - 20, 200, 15}, Qt::AlignHCenter | Qt::AlignVCenter,
        QString::fromStdString(span.name), 8.5, span_colour().rgb(), true);
}

} // namespace

BudgetLayout::BudgetLayout(const QRectF& area, const ModelShape& shape, std::int64_t seq_len)
    : shape_(shape)
    , seq_len_(seq_len)
{
    const auto width = area.width() - left_margin - right_margin - gap;
    const auto map_width
        = std::clamp(static_cast<double>(shape.num_kv_heads) * 58, 150.0, std::max(150.0, 0.5 * width));
    const auto top = area.top() + top_margin;
    const auto height = std::max(1.0, area.height() - top_margin - bottom_margin);
    map_ = {area.left() + left_margin, top, map_width, height};
    positions_ = {map_.right() + gap, top, std::max(1.0, width - map_width), height};
}

double BudgetLayout::row_height() const
{
    return map_.height() / static_cast<double>(shape_.num_layers);
}

QRectF BudgetLayout::cell(HeadId head) const
{
    const auto width = map_.width() / static_cast<double>(shape_.num_kv_heads);
    return {map_.left() + static_cast<double>(head.kv_head) * width,
        map_.top() + static_cast<double>(head.layer) * row_height(), width, row_height()};
}

double BudgetLayout::position_x(std::int64_t position) const
{
    return positions_.left() + positions_.width() * static_cast<double>(position) / static_cast<double>(seq_len_);
}

std::optional<HeadId> BudgetLayout::head_at(const QPointF& point) const
{
    if (!map_.contains(point))
        return std::nullopt;
    const auto layer = static_cast<std::int64_t>((point.y() - map_.top()) / row_height());
    const auto width = map_.width() / static_cast<double>(shape_.num_kv_heads);
    const auto head = static_cast<std::int64_t>((point.x() - map_.left()) / width);
    return HeadId{std::min(layer, shape_.num_layers - 1), std::min(head, shape_.num_kv_heads - 1)};
}

std::optional<std::pair<std::int64_t, std::int64_t>> BudgetLayout::position_at(const QPointF& point) const
{
    if (!positions_.contains(point))
        return std::nullopt;
    const auto layer = static_cast<std::int64_t>((point.y() - positions_.top()) / row_height());
    const auto share = (point.x() - positions_.left()) / positions_.width();
    const auto position = static_cast<std::int64_t>(share * static_cast<double>(seq_len_));
    return std::pair{std::min(layer, shape_.num_layers - 1), std::min(position, seq_len_ - 1)};
}

std::vector<std::vector<std::int32_t>> keepers_by_layer(const Cell& cell)
{
    std::vector<std::vector<std::int32_t>> result;
    for (std::int64_t layer = 0; layer < cell.report.trace.shape.num_layers; ++layer)
        result.push_back(keepers(cell, {layer, std::nullopt}));
    return result;
}

QImage position_image(const std::vector<std::vector<std::int32_t>>& keepers, std::int64_t num_kv_heads, int columns)
{
    const auto rows = static_cast<int>(keepers.size());
    const auto length = keepers.empty() ? 0 : static_cast<std::int64_t>(keepers.front().size());
    columns = static_cast<int>(std::clamp<std::int64_t>(columns, 1, std::max<std::int64_t>(length, 1)));
    QImage image(columns, std::max(rows, 1), QImage::Format_RGB32);
    image.fill(Qt::white);
    for (int row = 0; row < rows; ++row) {
        auto* pixels = reinterpret_cast<QRgb*>(image.scanLine(row));
        const auto& kept = keepers[static_cast<std::size_t>(row)];
        for (int column = 0; column < columns; ++column) {
            const auto begin = length * column / columns, end = length * (column + 1) / columns;
            std::int64_t sum = 0;
            for (auto position = begin; position < end; ++position)
                sum += kept[static_cast<std::size_t>(position)];
            const auto entries = static_cast<double>((end - begin) * num_kv_heads);
            pixels[column] = heat_colour(position_shade(static_cast<double>(sum) / entries)).rgb();
        }
    }
    return image;
}

void draw_budgets(QPainter& painter, const QRectF& area, const BudgetModel& model, const QImage& positions,
    std::optional<HeadId> chosen)
{
    painter.fillRect(area, Qt::white);
    const auto cell = model.cell();
    if (!cell)
        return;
    const auto& trace = cell->report.trace;
    const BudgetLayout layout(area, cell->shape(), trace.seq_len);
    draw_titles(painter, area, layout, *cell);
    draw_row_labels(painter, layout, trace);
    draw_map(painter, layout, model);
    painter.drawImage(layout.positions(), positions);
    draw_position_axis(painter, layout, trace.seq_len);
    if (model.span())
        draw_span(painter, layout, trace.spans[*model.span()]);
    draw_colour_bars(painter, area, layout, model);
    if (chosen) {
        painter.setPen(QPen(span_colour(), 2));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(layout.cell(*chosen).adjusted(0.5, 0, -1.5, -1));
    }
}

} // namespace lava::gui
