#include "gui/colours.h"

#include <QPainter>

#include <algorithm>
#include <array>
#include <cmath>

namespace lava::gui {

namespace {

constexpr std::array<QRgb, 6> heat{0xfffaf0, 0xfde0a6, 0xf9a95a, 0xe2602f, 0x9c1c2a, 0x430a22};
constexpr std::array<QRgb, 8> lines{0x0072b2, 0xd55e00, 0x009e73, 0x8e44ad, 0x3fa7e0, 0xd99a00, 0xd1629f, 0x404040};
constexpr std::array<Qt::PenStyle, 3> styles{Qt::SolidLine, Qt::DashLine, Qt::DotLine};

QColor mix(const QColor& from, const QColor& to, double share)
{
    const auto between = [share](int a, int b) { return static_cast<int>(a + (b - a) * share + 0.5); };
    return {between(from.red(), to.red()), between(from.green(), to.green()), between(from.blue(), to.blue())};
}

} // namespace

QColor heat_colour(double share)
{
    const auto place = std::clamp(share, 0.0, 1.0) * static_cast<double>(heat.size() - 1);
    const auto lower = std::min(static_cast<std::size_t>(place), heat.size() - 2);
    return mix(QColor(heat[lower]), QColor(heat[lower + 1]), place - static_cast<double>(lower));
}

QColor token_colour(double share)
{
    // most tokens are kept by few heads: a linear scale would leave the page all pale
    return heat_colour(0.06 + 0.46 * std::sqrt(std::clamp(share, 0.0, 1.0)));
}

QColor readable_on(const QColor& background)
{
    const auto luminance = 0.299 * background.red() + 0.587 * background.green() + 0.114 * background.blue();
    return luminance > 140 ? QColor(0x202020) : QColor(Qt::white);
}

QPen policy_pen(std::size_t policy)
{
    QPen pen(QColor(lines[policy % lines.size()]), 1.8);
    pen.setStyle(styles[policy / lines.size() % styles.size()]);
    pen.setCapStyle(Qt::FlatCap);
    return pen;
}

QPixmap policy_swatch(std::size_t policy, double device_pixel_ratio)
{
    constexpr int width = 26, height = 14;
    QPixmap pixmap(static_cast<int>(width * device_pixel_ratio), static_cast<int>(height * device_pixel_ratio));
    pixmap.setDevicePixelRatio(device_pixel_ratio);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(Qt::NoPen);
    painter.setBrush(Qt::white); // so that the stroke is seen in a selected row too
    painter.drawRoundedRect(QRectF(0, 0, width, height), 2, 2);
    auto pen = policy_pen(policy);
    pen.setWidthF(3);
    painter.setPen(pen);
    painter.drawLine(QPointF(2, height / 2.0), QPointF(width - 2, height / 2.0));
    return pixmap;
}

QColor span_colour()
{
    return QColor(0x0057c2);
}

QColor head_colour(std::size_t kv_head, std::size_t num_kv_heads)
{
    const auto share = num_kv_heads < 2 ? 0.5 : static_cast<double>(kv_head) / static_cast<double>(num_kv_heads - 1);
    return mix(QColor(0xf9c57e), QColor(0xa83226), share);
}

} // namespace lava::gui
