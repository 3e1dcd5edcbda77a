#pragma once

#include <ATen/core/Tensor.h>

namespace lava {

/// cos and sin of the rotary embedding for n positions, each [n, head_dim] with the two halves equal.
struct Rope
{
    at::Tensor cos, sin;
};

/// theta^(-2i / head_dim) for i < head_dim / 2, float32 as transformers computes them; on `like`'s device.
at::Tensor rope_inverse_frequencies(std::int64_t head_dim, double theta, const at::Tensor& like);

/// Of positions [n] (integers). Angles are position / theta^(2i / head_dim), all in float32 as transformers computes
/// them, then cast to `like`'s dtype; on its device.
Rope rope(const at::Tensor& positions, std::int64_t head_dim, double theta, const at::Tensor& like);

/// Rotates the pairs (i, i + head_dim / 2) of x [heads, n, head_dim].
at::Tensor apply_rope(const at::Tensor& x, const Rope& rope);

} // namespace lava
