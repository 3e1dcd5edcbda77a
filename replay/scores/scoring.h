#pragma once

#include "compute/device.h"
#include "replay/scores/rotary_embedding.h"
#include "traces/layer_view.h"

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace lava {

/// A layer as policies see it: the prompt's tensors, never the evaluation steps. The window's attention is computed
/// when it is first asked for, once for all policies. May be used by several threads at once.
class LayerInputs
{
public:
    /// `layer` must outlive this. `query_rows`: the most window queries that any policy will ask for. `threads` share
    /// the `device`'s work on the window's attention.
    LayerInputs(const LayerView& layer, std::int64_t query_rows, RotaryEmbedding rope = {}, int threads = 1,
        const Device& device = cpu_device());

    std::int64_t layer() const { return layer_.layer; }
    const ModelShape& shape() const { return layer_.shape; }
    std::int64_t seq_len() const { return layer_.seq_len; }
    std::int64_t sliding_window() const { return layer_.sliding_window; } ///< 0: none

    /// [num_heads, seq_len] column sums of the attention over all prompt queries, with or without the diagonal.
    const at::Tensor& observed_attention(bool diagonal) const;

    /// [num_heads, window, seq_len]: attention probabilities of the last `window` queries, causal and within the
    /// layer's sliding window, softmax over all keys in fp32 (policies: WA(w)).
    at::Tensor window_attention(std::int64_t window) const;

    /// [num_heads, seq_len - window]: mean of those over the window, the window's own columns dropped, not
    /// renormalised.
    at::Tensor mean_window_attention(std::int64_t window) const;

    /// The same layer where every query head has a cache of its own: `expanded` is per_query_head(layer) and must
    /// outlive what is returned.
    LayerInputs seen_by_query_heads(const LayerView& expanded) const;

    /// The same layer for the policy `name`, which may ask for the attention of its own query_rows() only, whatever
    /// others ask for.
    LayerInputs seen_by(std::string name, std::int64_t query_rows) const;

    const at::Tensor& k() const { return layer_.k; } ///< [num_kv_heads, seq_len, head_dim], after RoPE
    const at::Tensor& v() const { return layer_.v; } ///< [num_kv_heads, seq_len, head_dim]
    const at::Tensor& w_o() const { return layer_.w_o; } ///< [hidden_size, num_heads * head_dim]
    const at::Tensor& b_o() const { return layer_.b_o; } ///< [hidden_size]; undefined where the model has none

    /// [num_heads, head_dim] mean of the queries before RoPE, at positions of 4 and more
    const at::Tensor& query_mean() const { return layer_.q_pre_rope_mean; }
    /// [num_heads, head_dim, head_dim] their covariance, over n
    const at::Tensor& query_covariance() const { return layer_.q_pre_rope_cov; }
    const RotaryEmbedding& rope() const { return rope_; }

    /// [num_kv_heads, seq_len]: KVzip's or KVzip+'s largest attention while the prompt was repeated
    const at::Tensor& repeat_maxima(bool plus) const { return plus ? layer_.repeat_maxima_plus : layer_.repeat_maxima; }

    /// [num_heads, window, head_dim]: the last `window` queries, after RoPE
    at::Tensor queries(std::int64_t window) const;

    /// [num_kv_heads, seq_len]: ||v_i||_1
    at::Tensor value_norms() const;

private:
    /// What several policies ask a layer for, as far as it has been asked for.
    struct Shared
    {
        Shared(const LayerView& of, std::int64_t rows_asked_for, int shared_by, const Device& done_by)
            : layer(of)
            , query_rows(rows_asked_for)
            , threads(shared_by)
            , device(done_by)
        { }

        const LayerView& layer;
        std::int64_t query_rows;
        int threads;
        const Device& device;
        std::mutex mutex; // guards the members that follow
        at::Tensor rows; // [num_heads, query_rows, seq_len]
        std::map<std::int64_t, at::Tensor> means; // by window: [num_heads, seq_len - window]
        at::Tensor value_norms; // [num_kv_heads, seq_len]
    };

    LayerInputs(const LayerView& layer, std::shared_ptr<Shared> shared, RotaryEmbedding rope);

    /// Throws Error where so many rows were not declared, or not recorded.
    void check_rows(std::int64_t asked, std::int64_t there, const char* expected) const;

    const LayerView& layer_;
    std::shared_ptr<Shared> shared_;
    RotaryEmbedding rope_;
    std::string policy_; // empty: any
    std::int64_t rows_declared_;
};

/// A layer as a policy with a cache for every query head sees it: num_kv_heads = num_heads, keys and values of the
/// group repeated.
LayerView per_query_head(const LayerView& layer);

/// logits [heads, rows, seq_len] of the last `rows` prompt queries become -inf where a query does not see the key: it
/// is younger, or has left the sliding window.
void hide_unseen(const at::Tensor& logits, std::int64_t sliding_window);

enum class Pool
{
    max,
    avg,
    none
};
enum class GroupReduction
{
    mean,
    max,
    sum
};

Pool parse_pool(std::string_view name);
GroupReduction parse_group_reduction(std::string_view name);

/// Pools along positions: stride 1, padded by kernel / 2 (max: -inf; avg: zeros that count). x: [heads, positions].
at::Tensor pool_positions(const at::Tensor& x, Pool pool, std::int64_t kernel);

/// [num_heads, positions] -> [num_kv_heads, positions]: the query heads of each group reduced to one.
at::Tensor reduce_group(const at::Tensor& x, const ModelShape& shape, GroupReduction reduction);

/// Entropy of scores [heads, evictable] normalised over the whole layer, divided by ln(number of entries), in double:
/// p = s / (sum s + 1e-16), -sum p ln(p + 1e-16) (LAVa's released code; the paper's divisor cancels in the shares).
double score_entropy(const at::Tensor& scores);

} // namespace lava
