#pragma once

#include "gui/measure.h"

#include <QChart>

namespace lava::gui {

/// What each layer of one cell retains, stacked by KV head, and a measure of each layer as a line on a second axis.
class LayerChart : public QChart
{
    Q_OBJECT
public:
    explicit LayerChart(QGraphicsItem* parent = nullptr);

    void show_cell(const Cell& cell, const Measure& measure);

    const std::vector<double>& shown_values() const { return values_; } ///< [num_layers], empty where there are none

private:
    void add_bars(const Cell& cell, QAbstractAxis* layers);
    void add_line(const Measure& measure, QAbstractAxis* layers);

    std::vector<double> values_;
};

} // namespace lava::gui
