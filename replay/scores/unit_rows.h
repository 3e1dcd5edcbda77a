#pragma once

#include <ATen/ATen.h>

namespace lava {

/// Rows [..., dim] divided by their L2 norm; one below `least_norm` by that.
inline at::Tensor unit_rows(const at::Tensor& x, double least_norm)
{
    return x / x.norm(2, -1, true).clamp_min(least_norm);
}

} // namespace lava
