#pragma once

#include "traces/model_shape.h"
#include "traces/sliding_window.h"

#include <ATen/core/Tensor.h>

namespace lava {

inline constexpr double float_roundoff = 0x1p-24;

/// Everything recorded of one layer: fp32, contiguous, on the CPU. Tensors that a trace lacks are undefined.
struct LayerView
{
    std::int64_t layer = 0;
    ModelShape shape;
    std::int64_t seq_len = 0; ///< N
    std::int64_t window = 0; ///< W, query rows recorded
    std::int64_t eval_len = 0; ///< T
    std::int64_t sliding_window = 0; ///< positions that a query sees, up to its own; 0: all

    // The largest relative error of a rounding to the types that these are stored in, and of those that the run
    // computes with.
    double roundoff = float_roundoff; ///< of the coarsest tensor other than w_o and b_o
    double w_o_roundoff = float_roundoff;
    double run_roundoff = float_roundoff;

    /// First position that the query of an evaluation step sees; entry i of the steps is at position seq_len + i.
    std::int64_t first_seen_by(std::int64_t step) const { return first_seen(seq_len + step, sliding_window); }

    // What a policy may read.
    at::Tensor k; ///< [num_kv_heads, seq_len, head_dim], after RoPE
    at::Tensor v; ///< [num_kv_heads, seq_len, head_dim]
    at::Tensor q_window; ///< [num_heads, window, head_dim], after RoPE: the last `window` prompt tokens, oldest first
    at::Tensor
        observed_attention; ///< [num_heads, seq_len], column sums of the causal attention over all prompt queries
    at::Tensor
        observed_attention_off_diagonal; ///< [num_heads, seq_len], the same without each token's attention to itself
    at::Tensor q_pre_rope_mean; ///< [num_heads, head_dim], of the queries before RoPE at positions >= 4
    at::Tensor q_pre_rope_cov; ///< [num_heads, head_dim, head_dim], their covariance, over n
    at::Tensor repeat_maxima; ///< [num_kv_heads, seq_len], KVzip's: largest attention while the prompt is repeated
    at::Tensor repeat_maxima_plus; ///< [num_kv_heads, seq_len], KVzip+'s
    at::Tensor w_o; ///< [hidden_size, num_heads * head_dim]
    at::Tensor b_o; ///< [hidden_size]; undefined where the model has none

    // The evaluation steps: what the loss is measured on. No policy reads these.
    at::Tensor q_eval; ///< [num_heads, eval_len, head_dim], after RoPE
    at::Tensor k_eval; ///< [num_kv_heads, eval_len, head_dim], after RoPE; never evicted
    at::Tensor v_eval; ///< [num_kv_heads, eval_len, head_dim]
    at::Tensor resid_pre; ///< [eval_len, hidden_size], the residual stream before the layer
    at::Tensor attn_out; ///< [eval_len, hidden_size], what attention adds to it
    at::Tensor resid_mid; ///< [eval_len, hidden_size], after that
    at::Tensor mlp_out; ///< [eval_len, hidden_size], what the FFN adds

    bool has_losses() const { return q_eval.defined() && k_eval.defined() && v_eval.defined() && w_o.defined(); }
};

} // namespace lava
