#pragma once

#include "compute/attention.h"

#include <ATen/core/Tensor.h>

namespace lava {

/// Whether device_attention() can take these queries: on a GPU, and heads that fit into its shared memory.
bool runs_on_device(const at::Tensor& q);

/// causal_attention() by the kernels of compute/cuda, on the GPU that holds the tensors, in LibTorch's current stream.
AttentionResult device_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums, std::int64_t window);

} // namespace lava
