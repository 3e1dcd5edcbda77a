// What policies score with and attn_out does not depend on, checked against what else was recorded.

#include "traces/verify.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace lava {

namespace {

constexpr std::int64_t skipped_positions = 4; // that the query statistics leave out

/// Column sums of the window's attention, and what rounding may change in them.
struct WindowSums
{
    at::Tensor attention; ///< [group, window, seq_len]
    at::Tensor columns; ///< [group, seq_len]
    at::Tensor noise; ///< [group, seq_len]
};

/// [window, seq_len] bool: what the window's queries do not see.
at::Tensor hidden_from_window(const LayerView& layer)
{
    const auto first = layer.seq_len - layer.window;
    const auto hidden = at::ones({layer.window, layer.seq_len}, at::kBool).triu(first + 1);
    for (std::int64_t row = 0; row < layer.window; ++row)
        hidden[row].narrow(0, 0, first_seen(first + row, layer.sliding_window)).fill_(true);
    return hidden;
}

WindowSums window_sums(const LayerView& layer, std::int64_t kv_head, const at::Tensor& hidden)
{
    const auto group = layer.shape.group_size();
    const auto dim = static_cast<double>(layer.shape.head_dim);
    const auto keys = layer.k[kv_head];
    const auto queries = layer.q_window.narrow(0, kv_head * group, group);
    auto scores = at::matmul(queries, keys.t()).div_(std::sqrt(dim));
    // variance of a score, by both roundings
    auto variance = at::matmul(queries.square(), keys.square().t()).mul_(2 / dim);
    variance.add_(scores.square(), layer.run_roundoff > float_roundoff ? 1 : 0);
    scores.masked_fill_(hidden, -std::numeric_limits<float>::infinity());
    auto attention = at::softmax(scores, -1);
    const auto of_row = (attention * variance).sum(-1, true);
    const auto noise = (attention * (variance + of_row).sqrt()).sum(1).mul_(4 * layer.roundoff / std::sqrt(3.0));
    return {attention, attention.sum(1), noise};
}

/// Keeps the deviation that is largest in relation to its tolerance, both in units of `scale`.
void keep_worst(Identity& identity, const at::Tensor& deviation, const at::Tensor& tolerance, double scale)
{
    if (deviation.numel() == 0)
        return;
    const auto at_worst = (deviation / tolerance).argmax().item<std::int64_t>();
    const auto found = deviation.flatten()[at_worst].item<double>() / scale;
    const auto allowed = tolerance.flatten()[at_worst].item<double>() / scale;
    if (!(found * identity.tolerance <= identity.deviation * allowed)) {
        identity.deviation = found;
        identity.tolerance = allowed;
    }
}

/// The last W keys are seen by the window's queries only: their sums of its attention are the recorded ones. All other
/// sums are at least what the window adds to them, and a head's sum up to the number of queries.
void check_column_sums(const LayerView& layer, std::vector<Identity>& found)
{
    Identity last{"observed_attention's end is the window's",
        "q_window, k and observed_attention: the last columns of the window's attention deviate from those of "
        "the recorded sums",
        0, float_tolerance};
    Identity off{"observed_attention_off_diagonal's end is the window's",
        "q_window, k and observed_attention_off_diagonal: the last columns of the window's attention deviate "
        "from those of the recorded sums",
        0, float_tolerance};
    Identity excess{"observed_attention is at least the window's",
        "q_window, k and observed_attention: the window's attention exceeds the recorded sums", 0, float_tolerance};
    Identity total{"observed_attention adds up to the number of queries",
        "observed_attention: a head's sum deviates from the number of queries", 0, float_tolerance};
    const auto group = layer.shape.group_size(), first = layer.seq_len - layer.window;
    const auto count = static_cast<double>(layer.seq_len);
    const auto hidden = hidden_from_window(layer);
    for (std::int64_t kv_head = 0; kv_head < layer.shape.num_kv_heads; ++kv_head) {
        const auto sums = window_sums(layer, kv_head, hidden);
        const auto recorded = layer.observed_attention.narrow(0, kv_head * group, group);
        const auto tail = [&](const at::Tensor& columns) { return columns.narrow(1, first, layer.window); };
        const auto scale = tail(sums.columns).max().item<double>();
        const auto allowed = sums.noise + float_tolerance * scale;
        keep_worst(last, (tail(sums.columns) - tail(recorded)).abs(), tail(allowed), scale);
        keep_worst(excess, (sums.columns - recorded).clamp_min(0), allowed, scale);
        const auto sum = recorded.to(at::kDouble).sum(1) - count;
        keep_worst(total, sum.abs() / count, at::full_like(sum, float_tolerance + layer.run_roundoff), 1);
        if (!layer.observed_attention_off_diagonal.defined())
            continue;
        const auto own = sums.attention.narrow(2, first, layer.window).diagonal(0, 1, 2);
        const auto others = layer.observed_attention_off_diagonal.narrow(0, kv_head * group, group);
        keep_worst(off, (tail(sums.columns) - own - tail(others)).abs(), tail(allowed), scale);
    }
    found.insert(found.end(), {last, excess, total});
    if (layer.observed_attention_off_diagonal.defined())
        found.push_back(off);
}

/// A token's attention to itself lies between 0 and 1.
void check_diagonal(const LayerView& layer, std::vector<Identity>& found)
{
    const auto own = (layer.observed_attention - layer.observed_attention_off_diagonal).to(at::kDouble);
    const auto outside = at::maximum(own - 1, -own).max().item<double>();
    const auto largest = layer.observed_attention.abs().max().item<double>();
    found.push_back({"a token's attention to itself lies in 0 to 1",
        "observed_attention and observed_attention_off_diagonal: a token's attention to itself lies outside "
        "0 to 1",
        std::max(outside, 0.0), float_tolerance * std::max(1.0, largest)});
}

/// The window's queries as they were before the rotary embedding, [num_heads, window, head_dim], in double.
at::Tensor turned_back(const LayerView& layer, const TraceInfo& info)
{
    const auto pairs = static_cast<std::int64_t>(info.rope_inv_freq.size());
    const auto positions = at::arange(layer.seq_len - layer.window, layer.seq_len, at::kDouble).unsqueeze(1);
    const auto frequencies = at::empty({pairs}, at::kDouble);
    std::copy(info.rope_inv_freq.begin(), info.rope_inv_freq.end(), frequencies.mutable_data_ptr<double>());
    const auto angle = positions * frequencies; // [window, pairs]
    const auto queries = layer.q_window.to(at::kDouble);
    const auto a = queries.narrow(2, 0, pairs), b = queries.narrow(2, pairs, pairs);
    const auto cos = angle.cos() / info.rope_attention_scaling, sin = angle.sin() / info.rope_attention_scaling;
    return at::cat(
        {a * cos + b * sin, b * cos - a * sin, queries.narrow(2, 2 * pairs, queries.size(2) - 2 * pairs)}, 2);
}

/// A covariance is symmetric and nowhere negative. The window's queries are some of those that it was taken over, so
/// that their squared distances to the mean add up to no more than all of them.
void check_query_statistics(const LayerView& layer, const TraceInfo& info, std::vector<Identity>& found)
{
    const auto covariance = layer.q_pre_rope_cov.to(at::kDouble);
    const auto variance = covariance.diagonal(0, 1, 2);
    const auto largest = std::max(variance.abs().max().item<double>(), 1e-30);
    found.push_back(
        {"q_pre_rope_cov is symmetric", "q_pre_rope_cov: the two halves of a covariance deviate from each other",
            (covariance - covariance.transpose(1, 2)).abs().max().item<double>() / largest, float_tolerance});
    const auto bound = variance.clamp_min(0).sqrt();
    const auto excess = (covariance.abs() - bound.unsqueeze(2) * bound.unsqueeze(1)).max().item<double>();
    found.push_back({"q_pre_rope_cov is within its variances",
        "q_pre_rope_cov: covariances exceed the deviations that they belong to", std::max(excess, 0.0) / largest,
        float_tolerance});
    const auto used = std::min(layer.window, layer.seq_len - skipped_positions);
    if (info.rope_inv_freq.empty() || used <= 0)
        return;
    const auto queries = turned_back(layer, info).narrow(1, layer.window - used, used);
    const auto mean = layer.q_pre_rope_mean.to(at::kDouble).unsqueeze(1);
    const auto count = static_cast<double>(layer.seq_len - skipped_positions);
    const auto part = (queries - mean).square().sum(1).sqrt(), whole = (variance.clamp_min(0) * count).sqrt();
    const auto scale = std::max(whole.max().item<double>(), 1e-30);
    const auto rounded = queries.square().sum({1, 2}, true).squeeze(2).sqrt() * (4 * layer.roundoff);
    Identity window{"q_window is some of q_pre_rope_cov's queries",
        "q_window, q_pre_rope_mean and q_pre_rope_cov: the window's queries scatter beyond the variance of all", 0,
        float_tolerance};
    keep_worst(window, (part - whole).clamp_min(0), (rounded + float_tolerance * scale).expand_as(part), scale);
    found.push_back(window);
}

/// Exact but for the rounding of the three, since the sum is what the run adds.
void check_stream(const LayerView& layer, std::vector<Identity>& found)
{
    const auto norm = [](const at::Tensor& tensor) { return tensor.to(at::kDouble).norm(2, 1); };
    const auto sizes = norm(layer.resid_pre) + norm(layer.attn_out) + norm(layer.resid_mid);
    const auto gap = norm(layer.resid_pre.to(at::kDouble) + layer.attn_out - layer.resid_mid);
    const auto scale = norm(layer.resid_mid).max().item<double>();
    Identity sum{"resid_pre + attn_out is resid_mid",
        "resid_pre, attn_out and resid_mid: the sum of the first two deviates from the third", 0, float_tolerance};
    keep_worst(sum, gap, sizes * (float_tolerance / 3 + 2 * layer.roundoff), std::max(scale, 1e-30));
    found.push_back(sum);
}

bool is_synthetic(const TraceInfo& info)
{
    return info.generator.starts_with("lava-trace synth ");
}

/// The model adds the attention's output as recorded: no norm or multiplier in between.
bool adds_attention(const TraceInfo& info)
{
    return info.generator.starts_with("lava-capture ");
}

} // namespace

std::vector<Identity> check_identities(const LayerView& layer, const TraceInfo& info)
{
    std::vector<Identity> found;
    if (is_synthetic(info))
        return found;
    if (layer.observed_attention.defined())
        check_column_sums(layer, found);
    if (layer.observed_attention.defined() && layer.observed_attention_off_diagonal.defined())
        check_diagonal(layer, found);
    if (layer.q_pre_rope_mean.defined() && layer.q_pre_rope_cov.defined())
        check_query_statistics(layer, info, found);
    if (adds_attention(info) && layer.resid_pre.defined() && layer.attn_out.defined() && layer.resid_mid.defined())
        check_stream(layer, found);
    return found;
}

std::vector<std::string> not_checkable(const TraceInfo& info)
{
    if (is_synthetic(info))
        return {
            "q_window, observed_attention, query statistics, repeat_maxima, resid_pre: a synthetic trace makes them "
            "up one by one"};
    std::vector<std::string> lines;
    if (!info.has_observed_attention)
        lines.emplace_back("q_window: the trace has no observed_attention to compare it with");
    if (info.has_query_statistics)
        lines.emplace_back(
            "q_pre_rope_mean, q_pre_rope_cov: only that they can belong to the window's queries; the other "
            "queries are not recorded");
    if (info.has_repeat_maxima)
        lines.emplace_back("repeat_maxima, repeat_maxima_plus: the repeat pass's queries are not recorded");
    if (!adds_attention(info))
        lines.emplace_back("resid_pre, resid_mid: a norm or multiplier that is not recorded may stand between attn_out "
                           "and the residual stream");
    lines.emplace_back("mlp_out: the feed-forward network is not recorded");
    return lines;
}

} // namespace lava
