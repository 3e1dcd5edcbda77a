#pragma once

#include <ATen/core/Tensor.h>

namespace lava {

struct AttentionResult
{
    at::Tensor z; ///< [n, num_heads * head_dim]
    // Column sums of the attention probabilities over the n queries, float32 [num_heads, N], with and without each
    // query's own column; undefined unless asked for.
    at::Tensor column_sums;
    at::Tensor column_sums_off_diagonal;
};

/// Causal attention of the last n of N positions: q [num_heads, n, head_dim] over k, v [num_kv_heads, N, head_dim];
/// query head h reads KV head h / (num_heads / num_kv_heads). Where `window` is not 0, a query sees only the last
/// `window` positions up to its own. Runs in tiles of query rows, each over the keys it may see, so that n x N is never
/// held for all rows: in float32 on the CPU with own arithmetic (compute/cpu/tiled_attention.h), on a GPU by kernels
/// where they were built (compute/cuda/attention.h). Scores and softmax are float32; on the CPU the tiles are shared
/// among worker_threads() threads, and the result does not depend on their number.
AttentionResult causal_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums, std::int64_t window = 0);

} // namespace lava
