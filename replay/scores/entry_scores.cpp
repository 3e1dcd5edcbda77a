#include "replay/scores/entry_scores.h"

#include "base/error.h"
#include "base/formatted.h"
#include "replay/scores/key_scores.h"
#include "replay/scores/projected_norms.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lava {

namespace {

// The last queries' attention in a model's type; the masked logits vanish in the softmax as they do at -inf.
at::Tensor rounded_window_attention(const LayerInputs& layer, std::int64_t rows, Precision precision)
{
    const auto& shape = layer.shape();
    const auto n = layer.seq_len();
    const auto q = rounded(layer.queries(rows), precision)
                       .reshape({shape.num_kv_heads, shape.group_size() * rows, shape.head_dim});
    const auto product = rounded(at::bmm(q, rounded(layer.k(), precision).transpose(1, 2)), precision);
    auto logits = rounded(product / std::sqrt(static_cast<double>(shape.head_dim)), precision);
    logits = logits.view({shape.num_heads, rows, n}).clone();
    hide_unseen(logits, layer.sliding_window());
    return rounded(at::softmax(logits, -1), precision);
}

// [num_heads, evictable]
at::Tensor reduce_window(const LayerInputs& layer, const ScoreRule& rule)
{
    const bool plain = rule.precision == Precision::fp32 && rule.query_rows == rule.window;
    if (plain && rule.reduce == WindowReduction::mean) {
        return layer.mean_window_attention(rule.window);
    }
    const auto rows = std::min(rule.query_rows, layer.seq_len());
    const auto attention = prefix_attention(layer, rows, rule.window, rule.precision);
    const auto round = [&](const at::Tensor& x) { return rounded(x, rule.precision); };
    switch (rule.reduce) {
    case WindowReduction::sum:
        return round(attention.sum(1));
    case WindowReduction::max:
        return attention.amax(1);
    case WindowReduction::variance: {
        const auto variance = round(at::var(attention, at::IntArrayRef{1}, /*unbiased=*/true));
        return round(round(attention.mean(1)) + round(rule.gamma * variance));
    }
    case WindowReduction::mean:
        break;
    }
    return round(attention.mean(1));
}

LeaveOneOutRule leave_one_out_rule(const ScoreRule& rule)
{
    LeaveOneOutRule out;
    out.window = rule.window;
    out.query_rows = rule.query_rows;
    out.reduce = rule.reduce == WindowReduction::max ? LeaveOneOutRule::Reduce::max
        : rule.reduce == WindowReduction::sum        ? LeaveOneOutRule::Reduce::sum
                                                     : LeaveOneOutRule::Reduce::mean;
    out.error = rule.source == Source::loo ? LeaveOneOutRule::Error::layer
        : rule.source == Source::dropkv_wo ? LeaveOneOutRule::Error::projected_head
                                           : LeaveOneOutRule::Error::head;
    out.relative = rule.relative;
    return out;
}

// [num_heads, evictable], or [num_kv_heads, evictable] for what is a KV head's own
at::Tensor source_scores(const LayerInputs& layer, const ScoreRule& rule)
{
    switch (rule.source) {
    case Source::column_sums:
        return layer.observed_attention(rule.diagonal).narrow(1, 0, layer.seq_len() - rule.window);
    case Source::loo:
    case Source::dropkv:
    case Source::dropkv_wo:
        return leave_one_out_scores(layer, leave_one_out_rule(rule));
    case Source::key_norm:
        return key_norm_scores(layer.k()).narrow(1, 0, layer.seq_len() - rule.window);
    case Source::key_difference:
        return key_difference_scores(layer.k()).narrow(1, 0, layer.seq_len() - rule.window);
    case Source::attention:
        break;
    }
    return reduce_window(layer, rule);
}

// [num_kv_heads, evictable] or [num_kv_heads, 1]
at::Tensor value_weights(const LayerInputs& layer, const ScoreRule& rule)
{
    const auto evictable = layer.seq_len() - rule.window;
    if (rule.value == ValueWeight::projected) {
        return projected_value_norms(layer).narrow(1, 0, evictable);
    }
    const auto norms = rule.precision == Precision::fp32
        ? layer.value_norms()
        : rounded(rounded(layer.v(), rule.precision).abs().sum(-1), rule.precision);
    if (rule.value == ValueWeight::token) {
        return norms.narrow(1, 0, evictable);
    }
    return (rule.value == ValueWeight::prefix ? norms.narrow(1, 0, evictable) : norms).amax(1, true);
}

at::Tensor weighed(const at::Tensor& scores, const LayerInputs& layer, const ScoreRule& rule)
{
    if (rule.value == ValueWeight::none) {
        return scores;
    }
    const auto weights = value_weights(layer, rule);
    return rounded(scores * weights.repeat_interleave(scores.size(0) / weights.size(0), 0), rule.precision);
}

at::Tensor pooled(const at::Tensor& scores, const ScoreRule& rule)
{
    return rounded(pool_positions(scores, rule.pool, rule.kernel), rule.precision);
}

// [num_heads, evictable] -> [num_kv_heads, evictable]
at::Tensor grouped(const at::Tensor& scores, const LayerInputs& layer, const ScoreRule& rule)
{
    if (rule.over_layer) {
        return rounded(scores.mean(0, true), rule.precision).expand({layer.shape().num_kv_heads, scores.size(1)});
    }
    return rounded(reduce_group(scores, layer.shape(), rule.gqa), rule.precision);
}

// [num_kv_heads, evictable]
at::Tensor unprotected_scores(const LayerInputs& layer, const ScoreRule& rule)
{
    const auto scores = source_scores(layer, rule);
    if (of_kv_head(rule.source)) {
        return weighed(pooled(scores, rule), layer, rule);
    }
    if (rule.gqa_at == GroupAt::pre_pool) {
        return weighed(pooled(grouped(scores, layer, rule), rule), layer, rule);
    }
    return grouped(weighed(pooled(scores, rule), layer, rule), layer, rule);
}

} // namespace

at::Tensor prefix_attention(const LayerInputs& layer, std::int64_t rows, std::int64_t window, Precision precision)
{
    const auto attention = precision == Precision::fp32 ? layer.window_attention(rows)
                                                        : rounded_window_attention(layer, rows, precision);
    return attention.narrow(2, 0, layer.seq_len() - window);
}

at::Tensor ranked_first(const at::Tensor& scores, std::int64_t begin, std::int64_t count)
{
    auto changed = scores.contiguous().clone();
    changed.narrow(1, begin, std::min(count, changed.size(1) - begin)).fill_(std::numeric_limits<float>::max());
    return changed;
}

at::Tensor entry_scores(const LayerInputs& layer, const ScoreRule& rule)
{
    const auto scores = unprotected_scores(layer, rule);
    return rule.sinks > 0 ? ranked_first(scores, 0, rule.sinks) : scores;
}

double layer_preference(const LayerInputs& layer, std::int64_t window, double tau1, double tau2, Precision precision)
{
    const auto attention = prefix_attention(layer, window, window, precision);
    const auto variance = at::var(attention, at::IntArrayRef{1}, /*unbiased=*/true);
    double entropy = 0;
    for (std::int64_t head = 0; head < attention.size(0); ++head) {
        const auto a = attention[head].to(at::kDouble);
        entropy -= (a * (a + 1e-10).log()).sum().item<double>();
    }
    if (precision == Precision::fp32) {
        return std::pow(entropy, 1 / tau1) * std::pow(variance.sum(at::kDouble).item<double>(), 1 / tau2);
    }
    const auto by_position = rounded(rounded(variance, precision).sum(0), precision);
    const auto variation = rounded(by_position.sum(), precision).item<float>();
    return std::pow(entropy, 1 / tau1)
        * static_cast<double>(rounded(static_cast<float>(std::pow(variation, 1 / tau2)), precision));
}

double rounded_score_entropy(const LayerInputs& layer, const at::Tensor& scores, Precision precision)
{
    const auto round = [precision](const at::Tensor& x) { return rounded(x, precision); };
    const auto sum = round(round(scores.sum()) + 1e-16);
    const auto p = round(scores.reshape(-1) / sum);
    const auto terms = round(p * round(round(p + 1e-16).log()));
    const auto entropy = -round(terms.sum()).item<float>();
    const auto count = static_cast<float>(std::log(static_cast<double>(scores.numel())));
    const auto claim = rounded(scores.numel() > 1 ? entropy / count : entropy, precision);
    if (std::isnan(claim)) {
        throw Error(
            formatted("layer {}: the entropy of its scores is no number in fp16, where some are 0 and 0 ln 0 is not "
                      "defined, so that the released code fails too; expected precision=fp32 or emulate_bf16",
                layer.layer()));
    }
    return claim;
}

} // namespace lava
