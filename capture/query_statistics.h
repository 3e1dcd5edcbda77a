#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

struct MeanAndCovariance
{
    at::Tensor mean; ///< [num_heads, head_dim] float32 on the CPU; undefined where no position counted
    at::Tensor covariance; ///< [num_heads, head_dim, head_dim], divided by n
};

/// Mean and covariance of a layer's queries before RoPE over the prompt's positions from 4 on, as expected attention
/// (kvpress, ExpectedAttentionPress with its n_sink of 4) takes them. One pass; sums in double. The result does not
/// depend on the number of threads.
class QueryStatistics
{
public:
    /// The queries of the next positions, [num_heads, n, head_dim], on any device.
    void add(const at::Tensor& q_pre_rope);
    MeanAndCovariance result() const;

private:
    std::int64_t seen_ = 0; ///< positions, the skipped ones included
    at::Tensor sum_, product_; ///< [num_heads, head_dim], [num_heads, head_dim, head_dim] float64
};

} // namespace lava
