#pragma once

#include "replay/scores/leave_one_out.h"
#include "replay/scores/precision.h"
#include "replay/scores/scoring.h"

namespace lava {

/// Where an entry's score comes from.
enum class Source
{
    attention, ///< what the last queries attend to
    column_sums, ///< what all the prompt's queries attend to
    loo, ///< what evicting the entry alone changes in the residual stream
    dropkv, ///< what it changes in a head's output
    dropkv_wo, ///< the same, times the head's W_O
    key_norm, ///< keys of small norm
    key_difference ///< keys unlike the mean key
};

/// Whether a score reads the window's queries.
constexpr bool reads_window(Source source)
{
    return source != Source::column_sums && source != Source::key_norm && source != Source::key_difference;
}

/// Whether a score is of the KV head as a whole: there are no query heads to reduce.
constexpr bool of_kv_head(Source source)
{
    return source == Source::loo || source == Source::key_norm || source == Source::key_difference;
}

/// How the window's queries become one.
enum class WindowReduction
{
    mean,
    sum,
    max,
    variance ///< mean + gamma * unbiased variance (CAKE)
};

/// What a score is multiplied by: L1 norms of a KV head's values.
enum class ValueWeight
{
    none,
    token, ///< the entry's own (VATP)
    all, ///< the KV head's largest (LAVa, Eq. 5)
    prefix, ///< the largest outside the window (LAVa's released code)
    projected ///< the entry's own once multiplied by W_O, the group's mean (CriticalKV)
};

/// Where a group's query heads are reduced to their KV head: before pooling (and the value norm), or after.
enum class GroupAt
{
    pre_pool,
    post_pool
};

/// An entry's score as a choice of pieces; policies.md's blocks are such choices.
struct ScoreRule
{
    Source source = Source::attention;
    std::int64_t window = 32; ///< recent tokens that are not scored
    std::int64_t query_rows = 32; ///< of the window: those that are asked
    WindowReduction reduce = WindowReduction::mean;
    double gamma = 200;
    bool diagonal = true; ///< column sums with each token's attention to itself
    bool relative = false; ///< loo over the squared norm of what the layer writes
    ValueWeight value = ValueWeight::none;
    Pool pool = Pool::max;
    std::int64_t kernel = 7;
    GroupReduction gqa = GroupReduction::mean;
    bool over_layer = false; ///< the mean over all heads of the layer instead (TOVA)
    GroupAt gqa_at = GroupAt::pre_pool;
    std::int64_t sinks = 0; ///< first entries that rank above all others
    Precision precision = Precision::fp32;
};

/// [num_kv_heads, seq_len - window] fp32
at::Tensor entry_scores(const LayerInputs& layer, const ScoreRule& rule);

/// The scores [heads, entries] with `count` entries from `begin` on above all others.
at::Tensor ranked_first(const at::Tensor& scores, std::int64_t begin, std::int64_t count);

/// [num_heads, rows, seq_len - window]: the attention of the last `rows` queries over what is not in the window,
/// causal, softmax over all keys; emulated: rounded after the product, its scaling and the softmax.
at::Tensor prefix_attention(
    const LayerInputs& layer, std::int64_t rows, std::int64_t window, Precision precision = Precision::fp32);

/// CAKE's preference of a layer: entropy^(1/tau1) * variance^(1/tau2), both summed over heads and positions of the
/// window's attention, the entropy over queries too. The variance and its power are rounded, the entropy is not.
double layer_preference(const LayerInputs& layer, std::int64_t window, double tau1, double tau2, Precision precision);

/// score_entropy() with every step rounded, as LAVa's released code runs in the model's type. Throws Error where fp16
/// makes it no number (0 ln 0), as it does there.
double rounded_score_entropy(const LayerInputs& layer, const at::Tensor& scores, Precision precision);

} // namespace lava
