#include "model/rope.h"

#include <ATen/ATen.h>

namespace lava {

at::Tensor rope_inverse_frequencies(std::int64_t head_dim, double theta, const at::Tensor& like)
{
    const auto exponents = at::arange(0, head_dim, 2, like.options().dtype(at::kFloat)) / static_cast<double>(head_dim);
    return at::reciprocal(at::pow(at::Scalar(theta), exponents));
}

Rope rope(const at::Tensor& positions, std::int64_t head_dim, double theta, const at::Tensor& like)
{
    const auto exact = positions.to(like.device(), at::kFloat); // up to 2^24
    const auto half = exact.unsqueeze(1) * rope_inverse_frequencies(head_dim, theta, like); // [n, head_dim / 2]
    const auto angles = at::cat({half, half}, 1);
    return {angles.cos().to(like.scalar_type()), angles.sin().to(like.scalar_type())};
}

at::Tensor apply_rope(const at::Tensor& x, const Rope& rope)
{
    const auto half = x.size(-1) / 2;
    const auto rotated = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
    return x * rope.cos + rotated * rope.sin;
}

} // namespace lava
