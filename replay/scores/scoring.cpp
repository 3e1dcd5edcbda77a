#include "replay/scores/scoring.h"

#include "base/formatted.h"
#include "compute/cpu/arithmetic.h"
#include "compute/parallel.h"
#include "replay/scores/window_means.h"

#include "base/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace lava {

namespace {

at::Tensor attention_of_last_queries(const LayerView& layer, std::int64_t rows)
{
    const auto& shape = layer.shape;
    const auto group = shape.group_size();
    const auto n = layer.seq_len;
    const auto q = layer.q_window.narrow(1, layer.window - rows, rows)
                       .reshape({shape.num_kv_heads, group * rows, shape.head_dim});
    auto logits = at::bmm(q, layer.k.transpose(1, 2)).mul_(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
    logits = logits.view({shape.num_heads, rows, n});
    hide_unseen(logits, layer.sliding_window);
    return at::softmax(logits, -1);
}

// [num_kv_heads, seq_len]: ||v_i||_1
at::Tensor row_norms(const LayerView& layer, int threads)
{
    const auto values = layer.v.contiguous();
    const auto heads = layer.shape.num_kv_heads, n = layer.seq_len, dim = layer.shape.head_dim;
    auto norms = at::empty({heads, n});
    parallel_items(heads, threads, [&](std::int64_t head) {
        const auto* rows = values.const_data_ptr<float>() + head * n * dim;
        kernels().row_norms(rows, n, dim, norms.data_ptr<float>() + head * n);
    });
    return norms;
}

} // namespace

LayerInputs::LayerInputs(
    const LayerView& layer, std::int64_t query_rows, RotaryEmbedding rope, int threads, const Device& device)
    : layer_(layer)
    , shared_(std::make_shared<Shared>(layer, query_rows, threads, device))
    , rope_(std::move(rope))
    , rows_declared_(query_rows)
{ }

LayerInputs::LayerInputs(const LayerView& layer, std::shared_ptr<Shared> shared, RotaryEmbedding rope)
    : layer_(layer)
    , shared_(std::move(shared))
    , rope_(std::move(rope))
    , rows_declared_(shared_->query_rows)
{ }

LayerInputs LayerInputs::seen_by_query_heads(const LayerView& expanded) const
{
    return {expanded, shared_, rope_};
}

LayerInputs LayerInputs::seen_by(std::string name, std::int64_t query_rows) const
{
    auto seen = *this;
    seen.policy_ = std::move(name);
    seen.rows_declared_ = std::min(query_rows, shared_->query_rows);
    return seen;
}

void LayerInputs::check_rows(std::int64_t asked, std::int64_t there, const char* expected) const
{
    if (asked < 0 || asked > there) {
        throw Error(formatted("{}layer {}: expected at most {} query rows ({}), found that it asks for {}",
            policy_.empty() ? std::string() : policy_ + ": ", layer(), there, expected, asked));
    }
}

at::Tensor LayerInputs::queries(std::int64_t window) const
{
    check_rows(window, layer_.q_window.size(1), "what the trace records");
    return layer_.q_window.narrow(1, layer_.q_window.size(1) - window, window);
}

const at::Tensor& LayerInputs::observed_attention(bool diagonal) const
{
    return diagonal ? layer_.observed_attention : layer_.observed_attention_off_diagonal;
}

at::Tensor LayerInputs::window_attention(std::int64_t window) const
{
    check_rows(window, rows_declared_, "what query_rows() says");
    const std::lock_guard lock(shared_->mutex);
    auto& rows = shared_->rows;
    if (!rows.defined()) {
        rows = attention_of_last_queries(shared_->layer, shared_->query_rows);
    }
    return rows.narrow(1, rows.size(1) - window, window);
}

at::Tensor LayerInputs::mean_window_attention(std::int64_t window) const
{
    check_rows(window, layer_.q_window.size(1), "what the trace records");
    const std::lock_guard lock(shared_->mutex);
    auto& means = shared_->means[window];
    if (!means.defined()) {
        means = window_means(shared_->layer, window, shared_->threads, shared_->device);
    }
    return means;
}

at::Tensor LayerInputs::value_norms() const
{
    const std::lock_guard lock(shared_->mutex);
    auto& norms = shared_->value_norms;
    if (!norms.defined()) {
        norms = row_norms(shared_->layer, shared_->threads);
    }
    // of a group's query heads, each with a cache of its own, all have the same values
    const auto group = shape().num_kv_heads / norms.size(0);
    return group == 1 ? norms : norms.repeat_interleave(group, 0);
}

LayerView per_query_head(const LayerView& layer)
{
    auto expanded = layer;
    expanded.shape.num_kv_heads = layer.shape.num_heads;
    const auto group = layer.shape.group_size();
    for (auto* tensor : {&expanded.k, &expanded.v, &expanded.k_eval, &expanded.v_eval}) {
        if (tensor->defined()) {
            *tensor = tensor->repeat_interleave(group, 0);
        }
    }
    return expanded;
}

void hide_unseen(const at::Tensor& logits, std::int64_t sliding_window)
{
    constexpr auto hidden = -std::numeric_limits<float>::infinity();
    const auto rows = logits.size(1), n = logits.size(2);
    for (std::int64_t row = 0; row < rows; ++row) {
        const auto position = n - rows + row;
        const auto of_row = logits.select(1, row);
        of_row.narrow(1, position + 1, n - position - 1).fill_(hidden);
        of_row.narrow(1, 0, first_seen(position, sliding_window)).fill_(hidden);
    }
}

Pool parse_pool(std::string_view name)
{
    return name == "max" ? Pool::max : name == "avg" ? Pool::avg : Pool::none;
}

GroupReduction parse_group_reduction(std::string_view name)
{
    return name == "max" ? GroupReduction::max : name == "sum" ? GroupReduction::sum : GroupReduction::mean;
}

at::Tensor pool_positions(const at::Tensor& x, Pool pool, std::int64_t kernel)
{
    switch (pool) {
    case Pool::max:
        return at::max_pool1d(x.unsqueeze(0), kernel, 1, kernel / 2).squeeze(0);
    case Pool::avg:
        return at::avg_pool1d(x.unsqueeze(0), kernel, 1, kernel / 2, false, true).squeeze(0);
    case Pool::none:
        break;
    }
    return x;
}

at::Tensor reduce_group(const at::Tensor& x, const ModelShape& shape, GroupReduction reduction)
{
    const auto grouped = x.reshape({shape.num_kv_heads, shape.group_size(), x.size(-1)});
    switch (reduction) {
    case GroupReduction::max:
        return grouped.amax(1);
    case GroupReduction::sum:
        return grouped.sum(1);
    case GroupReduction::mean:
        break;
    }
    return grouped.mean(1);
}

double score_entropy(const at::Tensor& scores)
{
    const auto flat = scores.contiguous();
    const auto* s = flat.const_data_ptr<float>();
    const auto count = flat.numel();
    double sum = 1e-16;
    for (std::int64_t i = 0; i < count; ++i) {
        sum += s[i];
    }
    double entropy = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double p = s[i] / sum;
        entropy -= p * std::log(p + 1e-16);
    }
    return count > 1 ? entropy / std::log(static_cast<double>(count)) : entropy;
}

} // namespace lava
