#pragma once

#include "gui/measure.h"
#include "gui/sweep.h"

#include <QPainter>
#include <QSize>
#include <QString>

#include <filesystem>
#include <functional>

namespace lava::gui {

constexpr QSize chart_size(1000, 620); ///< most charts', in pixels at 96 dpi

/// Something shown that can be written to a file: how it is drawn, and the numbers in it.
struct Picture
{
    QString stem; ///< file name without its ending
    QSize size; ///< in pixels at 96 dpi
    std::function<void(QPainter&, const QRectF&)> draw;
    std::string csv; ///< a table of lava-analyze
};

/// A measure against the budget, one line per policy.
Picture comparison_picture(const SharedReport& report, const Measure& measure, const QString& stem);

/// The map of one cell of the sweep: entries retained by layer and KV head, and where in the prompt.
Picture budget_picture(
    const SharedReport& report, std::size_t policy, std::size_t budget, std::optional<std::size_t> span);

/// Entries retained and a measure of every layer.
Picture layer_picture(const SharedReport& report, std::size_t policy, std::size_t budget, const Measure& measure);

/// The prompt's tokens and how many of the chosen heads keep each, drawn by `draw`.
Picture text_picture(
    const Cell& cell, const HeadChoice& choice, QSize size, std::function<void(QPainter&, const QRectF&)> draw);

/// A picture's file as bytes; throws Error.
std::string png_text(const Picture& picture);
std::string svg_text(const Picture& picture);
std::string pdf_text(const Picture& picture); ///< without the time at which it is drawn

/// Each writes by way of an OutputFile; throws Error.
void write_png(const Picture& picture, const std::filesystem::path& file);
void write_svg(const Picture& picture, const std::filesystem::path& file);
void write_csv(const Picture& picture, const std::filesystem::path& file);

} // namespace lava::gui
