#pragma once

#include "gui/budget_model.h"

#include <QImage>
#include <QPainter>

#include <optional>

namespace lava::gui {

/// Where the parts of the budget picture lie: the map of layers x KV heads, and beside it, row by row, where in the
/// prompt each layer keeps its entries.
class BudgetLayout
{
public:
    BudgetLayout(const QRectF& area, const ModelShape& shape, std::int64_t seq_len);

    QRectF map() const { return map_; }
    QRectF positions() const { return positions_; }
    QRectF cell(HeadId head) const;
    double row_height() const;
    double position_x(std::int64_t position) const; ///< left edge of a prompt position

    std::optional<HeadId> head_at(const QPointF& point) const;
    /// Layer and prompt position under the point, where it is on the right-hand part.
    std::optional<std::pair<std::int64_t, std::int64_t>> position_at(const QPointF& point) const;

private:
    ModelShape shape_;
    std::int64_t seq_len_;
    QRectF map_;
    QRectF positions_;
};

/// How many heads of each layer keep each prompt position. [num_layers][seq_len]
std::vector<std::vector<std::int32_t>> keepers_by_layer(const Cell& cell);

/// A row per layer, `columns` stretches of the prompt; colour by the share of the layer's entries there that are kept.
QImage position_image(const std::vector<std::vector<std::int32_t>>& keepers, std::int64_t num_kv_heads, int columns);

/// Draws the whole picture with titles, numbers where they fit, both colour bars and the marked span.
void draw_budgets(QPainter& painter, const QRectF& area, const BudgetModel& model, const QImage& positions,
    std::optional<HeadId> chosen = {});

} // namespace lava::gui
