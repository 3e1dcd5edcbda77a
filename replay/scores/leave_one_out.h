#pragma once

#include "replay/scores/scoring.h"

namespace lava {

/// What evicting one KV entry alone changes, exactly, at each of the window's queries. With p the attention that query
/// j of head h pays entry i and o its output, the head's output moves by a (o - v_i), a = p / (1 - p).
struct LeaveOneOutRule
{
    /// Whose error, as a squared L2 norm.
    enum class Error
    {
        head, ///< a (o - v_i) of each query head (DropKV, openreview MqfNzH3TVH)
        projected_head, ///< a (o - v_i) W_O,h: what that head writes into the residual stream
        layer ///< the change summed over the group's query heads: what the layer writes
    };
    enum class Reduce ///< over the window's queries
    {
        mean,
        sum,
        max
    };

    Error error = Error::layer;
    Reduce reduce = Reduce::max;
    std::int64_t window = 32; ///< recent tokens that are not scored
    std::int64_t query_rows = 32; ///< of the window: those that are asked
    bool relative = false; ///< over the squared norm of what the layer writes for that query
};

/// [num_kv_heads, seq_len - window] for Error::layer, else [num_heads, seq_len - window]; fp32, at least 0. No product
/// is as wide as the residual stream: ||sum_h a_h (o_h - v) W_h||^2 = sum_hh' a_h a_h' (o_h - v)^T M_hh' (o_h' - v)
/// with the Gram matrices M_hh' = W_h W_h'^T.
at::Tensor leave_one_out_scores(const LayerInputs& layer, const LeaveOneOutRule& rule);

} // namespace lava
