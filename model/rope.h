#pragma once

#include "model/rope_config.h"

#include <ATen/core/Tensor.h>

namespace lava {

/// cos and sin of the rotary embedding at n positions, each [n, dim] with the two halves equal.
struct Rope
{
    at::Tensor cos, sin;
};

/// [dim / 2] float32 on the CPU, computed step by step as transformers 5.2 does, since an angle at a far position shows
/// every rounding. `seq_len`: tokens seen, the ones to be rotated included; dynamic and longrope depend on it.
at::Tensor inverse_frequencies(const RopeConfig& config, std::int64_t seq_len);

/// Angles are positions [n] (int64) times inverse frequencies in float32; cos and sin are cast to `dtype`, on the
/// positions' device.
Rope rope(const at::Tensor& positions, std::int64_t seq_len, const RopeConfig& config, at::ScalarType dtype);

/// Copy of a rotary embedding on `device`.
Rope on_device(const Rope& rope, const at::Device& device);

/// Rotates the pairs (i, i + dim / 2) of x [heads, n, head_dim]; dimensions from dim on stay as they are.
at::Tensor apply_rope(const at::Tensor& x, const Rope& rope);

} // namespace lava
