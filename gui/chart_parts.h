#pragma once

#include "gui/colours.h"
#include "gui/curves.h"

#include <QChart>
#include <QFont>
#include <QPainter>

class QAbstractAxis;

namespace lava::gui {

/// Drawn on white in windows of any colour scheme, so that a picture looks the same on screen and in a file.
void use_paper_style(QChart& chart);

QFont chart_font(double point_size, bool is_bold = false);

/// One line of text.
void draw_text(QPainter& painter, const QRectF& where, Qt::Alignment alignment, const QString& text, double size = 9,
    QRgb colour = ink, bool is_bold = false);

/// A policy's name for a legend: a long one without its middle.
QString short_name(const QString& policy);

/// An axis with labels at `ticks` of a logarithmic scale, or at round values of a linear one.
QAbstractAxis* make_axis(const AxisScale& scale, const std::vector<double>& ticks, const QString& title, bool is_share);

/// Empties the chart and shows `message` in its place.
void show_message(QChart& chart, const QString& message);

/// Removes series, axes and title.
void clear_chart(QChart& chart);

/// Draws a chart that belongs to no view.
void draw_chart(QChart& chart, QPainter& painter, const QRectF& target);

} // namespace lava::gui
