#pragma once

#include "compute/device.h"

#include <cstdint>
#include <vector>

namespace lava {

/// A layer's W_O, laid out for norms of products with it. Rows are [num_heads, dim], each head's head_dim padded to dim
/// with zeros, and row_stride apart.
class OutputProjection
{
public:
    explicit OutputProjection(const LossInputs& inputs);

    std::int64_t row_stride() const { return row_stride_; }

    /// ||row W_O||_1 and ||row W_O||_2 of `count` rows, to l1 and l2 [count].
    void norms(const float* rows, std::int64_t count, double* l1, double* l2) const;

private:
    void norms_of_small_row(const float* row, double& l1, double& l2) const;

    std::vector<float> panels_;
    std::int64_t inner_; // num_heads * dim
    std::int64_t columns_; // hidden_size
    std::int64_t row_stride_;
};

} // namespace lava
