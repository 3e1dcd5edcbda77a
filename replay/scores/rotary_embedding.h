#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace lava {

/// How a model turns queries and keys by their positions.
struct RotaryEmbedding
{
    std::vector<double>
        inv_freq; ///< [r]: the pairs (i, i + r) of a head's first 2r numbers turn by position * inv_freq[i]
    double attention_scaling = 1; ///< what queries and keys are also multiplied by (yarn, longrope)
};

/// [head_dim, head_dim] fp32: the mean of the rotations of positions first .. first + count - 1, scaling included, for
/// column vectors: R q. Angles are products in fp32, as the models compute them; numbers that do not turn stay.
at::Tensor mean_rotation(const RotaryEmbedding& rope, std::int64_t head_dim, std::int64_t first, std::int64_t count);

/// Keys before the rotation. k: [heads, tokens, head_dim], of positions first, first + 1, ...
at::Tensor before_rotation(const RotaryEmbedding& rope, const at::Tensor& k, std::int64_t first = 0);

} // namespace lava
