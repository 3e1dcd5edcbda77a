#pragma once

#include "compute/attention.h"
#include "compute/cpu/attention_tile.h"

#include <ATen/core/Tensor.h>

namespace lava {

/// causal_attention() in float32 on the CPU: scores, softmax, values and column sums of a tile of query rows in one
/// pass over its keys, with a running maximum (Dao et al. 2022, FlashAttention). Only the last dimension of q, k and v
/// need be contiguous, and the rows of a head beside each other.
AttentionResult tiled_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums,
    const AttentionArithmetic& arithmetic);

} // namespace lava
