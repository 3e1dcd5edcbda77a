#include "gui/pictures.h"

#include "gui/budget_picture.h"
#include "gui/chart_parts.h"
#include "gui/comparison_chart.h"
#include "gui/layer_chart.h"
#include "gui/token_model.h"

#include "analysis/selection.h"
#include "analysis/tables.h"
#include "base/error.h"
#include "base/output_file.h"

#include <QBuffer>
#include <QImage>
#include <QPageSize>
#include <QPdfWriter>
#include <QRegularExpression>
#include <QSvgGenerator>

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>

namespace lava::gui {

namespace {

constexpr double dots_per_pixel = 2; // PNGs stay sharp in print and on dense screens

QString cell_stem(const char* kind, const Cell& cell)
{
    auto name = QString::fromStdString(cell.replay().policy);
    name.replace(QRegularExpression(QStringLiteral("[^A-Za-z0-9@=,.-]+")), QStringLiteral("_"));
    return QStringLiteral("%1_%2_B%3").arg(QLatin1String(kind), name).arg(cell.replay().budgets[cell.budget]);
}

Table text_table(const Cell& cell, const HeadChoice& choice)
{
    const auto kept_by = keepers(cell, choice);
    const auto& trace = cell.report.trace;
    const auto heads = num_heads_chosen(cell.shape(), choice);
    Table table{{{"policy"}, {"budget"}, {"position"}, {"token"}, {"kept_by"}, {"heads"}}, {}};
    for (std::size_t position = 0; position < kept_by.size(); ++position) {
        const auto text = position < trace.prompt_texts.size() ? token_text(trace.prompt_texts[position]) : QString();
        table.rows.push_back({cell.replay().policy, cell.replay().budgets[cell.budget],
            static_cast<std::int64_t>(position), text.toStdString(), std::int64_t{kept_by[position]}, heads});
    }
    return table;
}

/// Sets the time of drawing to the first second of 1970, and what is made from it to zeros, so that the same picture
/// gives the same bytes. Lengths stay, so that the file's table of offsets is right.
std::string without_time(std::string pdf)
{
    constexpr std::string_view date = "/CreationDate (D:", first = "19700101000000", identifiers = "/ID [";
    if (const auto at = pdf.find(date); at != std::string::npos)
        pdf.replace(at + date.size(), first.size(), first);
    if (const auto at = pdf.rfind(identifiers); at != std::string::npos)
        std::replace_if(
            pdf.begin() + static_cast<std::ptrdiff_t>(at + identifiers.size()),
            pdf.begin() + static_cast<std::ptrdiff_t>(std::min(pdf.find(']', at), pdf.size())),
            [](unsigned char c) { return std::isxdigit(c) != 0; }, '0');
    return pdf;
}

} // namespace

Picture comparison_picture(const SharedReport& report, const Measure& measure, const QString& stem)
{
    const auto values = tabulate(*report, measure);
    auto draw = [report, measure, values](QPainter& painter, const QRectF& area) {
        ComparisonChart chart;
        chart.show_curves(curves(*report, values), measure, missing_losses(*report));
        draw_chart(chart, painter, area);
    };
    return {stem, chart_size, draw, to_csv(comparison_table(all_cells(*report)))};
}

Picture budget_picture(
    const SharedReport& report, std::size_t policy, std::size_t budget, std::optional<std::size_t> span)
{
    const Cell cell{*report, policy, budget};
    auto draw = [report, policy, budget, span](QPainter& painter, const QRectF& area) {
        BudgetModel model;
        model.set_cell(report, policy, budget, span);
        const auto shape = Cell{*report, policy, budget}.shape();
        const BudgetLayout layout(area, shape, report->trace.seq_len);
        const auto columns = static_cast<int>(layout.positions().width() / 2);
        const auto image = position_image(keepers_by_layer({*report, policy, budget}), shape.num_kv_heads, columns);
        draw_budgets(painter, area, model, image);
    };
    return {cell_stem("budget_map", cell), {1000, 720}, draw, to_csv(budget_table(std::span(&cell, 1)))};
}

Picture layer_picture(const SharedReport& report, std::size_t policy, std::size_t budget, const Measure& measure)
{
    const Cell cell{*report, policy, budget};
    auto draw = [report, policy, budget, measure](QPainter& painter, const QRectF& area) {
        LayerChart chart;
        chart.show_cell({*report, policy, budget}, measure);
        draw_chart(chart, painter, area);
    };
    return {cell_stem("layer_budgets", cell), chart_size, draw, to_csv(layer_table(std::span(&cell, 1)))};
}

Picture text_picture(
    const Cell& cell, const HeadChoice& choice, QSize size, std::function<void(QPainter&, const QRectF&)> draw)
{
    return {cell_stem("text", cell), size, std::move(draw), to_csv(text_table(cell, choice))};
}

std::string png_text(const Picture& picture)
{
    QImage image(picture.size * dots_per_pixel, QImage::Format_RGB32);
    image.setDevicePixelRatio(dots_per_pixel);
    image.fill(Qt::white);
    QPainter painter(&image);
    painter.setRenderHint(QPainter::Antialiasing);
    picture.draw(painter, QRectF(QPointF(0, 0), picture.size));
    painter.end();
    QByteArray bytes;
    QBuffer buffer(&bytes);
    if (!buffer.open(QIODevice::WriteOnly) || !image.save(&buffer, "PNG"))
        throw Error(picture.stem.toStdString() + ": the picture could not be encoded as PNG");
    return bytes.toStdString();
}

std::string svg_text(const Picture& picture)
{
    QByteArray bytes;
    QBuffer buffer(&bytes);
    QSvgGenerator generator;
    generator.setOutputDevice(&buffer);
    generator.setResolution(96);
    generator.setSize(picture.size);
    generator.setViewBox(QRect(QPoint(0, 0), picture.size));
    generator.setTitle(picture.stem);
    QPainter painter(&generator);
    picture.draw(painter, QRectF(QPointF(0, 0), picture.size));
    painter.end();
    return bytes.toStdString();
}

std::string pdf_text(const Picture& picture)
{
    constexpr double points_per_pixel = 72.0 / 96;
    QByteArray bytes;
    QBuffer buffer(&bytes);
    if (!buffer.open(QIODevice::WriteOnly))
        throw Error(picture.stem.toStdString() + ": the picture could not be encoded as PDF");
    QPdfWriter writer(&buffer);
    writer.setPageSize(QPageSize(QSizeF(picture.size) * points_per_pixel, QPageSize::Point, {}, QPageSize::ExactMatch));
    writer.setPageMargins(QMarginsF());
    writer.setResolution(96);
    writer.setTitle(picture.stem);
    QPainter painter(&writer);
    picture.draw(painter, QRectF(QPointF(0, 0), picture.size));
    painter.end();
    return without_time(bytes.toStdString());
}

void write_png(const Picture& picture, const std::filesystem::path& file)
{
    write_text_file(file, png_text(picture));
}

void write_svg(const Picture& picture, const std::filesystem::path& file)
{
    write_text_file(file, svg_text(picture));
}

void write_csv(const Picture& picture, const std::filesystem::path& file)
{
    write_text_file(file, picture.csv);
}

} // namespace lava::gui
