#pragma once

#include <QColor>
#include <QPen>
#include <QPixmap>

#include <cstddef>

namespace lava::gui {

constexpr QRgb ink = 0x202020; ///< text and axes of charts
constexpr QRgb faint = 0x707070; ///< what stands beside them

/// Colour of a share in [0, 1] on the sequential scale: pale for nothing, over orange, to dark for everything.
QColor heat_colour(double share);

/// Background of a token that this share of heads keeps: the pale half of the scale, so that text stays readable.
QColor token_colour(double share);

/// Black or white, whichever reads better on `background`.
QColor readable_on(const QColor& background);

/// How the policy at this place of the report is drawn everywhere: eight colours, then the same eight dashed, dotted.
QPen policy_pen(std::size_t policy);

/// A short stroke of the policy's pen, for lists.
QPixmap policy_swatch(std::size_t policy, double device_pixel_ratio = 1);

/// Marks the chosen span; on no colour scale, so that it stands out from all of them.
QColor span_colour();

/// Shade of one KV head of `num_kv_heads` in a stacked bar.
QColor head_colour(std::size_t kv_head, std::size_t num_kv_heads);

} // namespace lava::gui
