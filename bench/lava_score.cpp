#include "bench/lava_score.h"

#include "replay/policies/registry.h"
#include "replay/retention.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace lava::bench {

namespace {

constexpr std::int64_t window = 32;
constexpr std::int64_t kernel = 7;

at::Tensor repeat_heads(const at::Tensor& x, const ModelShape& shape) // [num_kv_heads, ...] -> [num_heads, ...]
{
    return x.repeat_interleave(shape.group_size(), 0);
}

// [num_heads, seq_len - window]
at::Tensor plain_window_means(const LayerView& layer)
{
    const auto queries = layer.q_window.narrow(1, layer.window - window, window);
    const auto keys = repeat_heads(layer.k, layer.shape);
    auto logits = at::matmul(queries, keys.transpose(1, 2)) / std::sqrt(static_cast<double>(layer.shape.head_dim));
    const auto future = at::ones({window, window}, at::kBool).triu(1);
    logits.narrow(2, layer.seq_len - window, window).masked_fill_(future, -std::numeric_limits<float>::infinity());
    return at::softmax(logits, -1).narrow(2, 0, layer.seq_len - window).mean(1);
}

double plain_entropy(const at::Tensor& scores)
{
    const auto p = scores / scores.sum();
    return -(p * (p + 1e-16).log()).sum().item<double>();
}

} // namespace

at::Tensor lava_selection(const LayerView& layer, std::int64_t budget, int threads)
{
    const auto policy = parse_policy("lava:window=32,kernel=7").make();
    std::vector<RankedLayer> ranked{
        rank_layer(policy->score(LayerInputs(layer, window, {}, threads)), layer.seq_len, window)};
    merge_heads(ranked.front());
    auto shape = layer.shape;
    shape.num_layers = 1;
    const auto allocation = policy->allocate(ranked, {shape, layer.seq_len, window, budget});
    auto kept = at::zeros({shape.num_kv_heads, layer.seq_len - window}, at::kBool);
    for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        const auto* ranking = ranked.front().ranking.data() + head * layer.seq_len + window;
        auto* of_head = kept.data_ptr<bool>() + head * (layer.seq_len - window);
        for (std::int64_t i = 0; i < allocation.retained[static_cast<std::size_t>(head)]; ++i) {
            of_head[ranking[i]] = true;
        }
    }
    return kept;
}

at::Tensor plain_selection(const LayerView& layer, std::int64_t budget)
{
    const auto& shape = layer.shape;
    const auto pooled = at::max_pool1d(plain_window_means(layer).unsqueeze(0), kernel, 1, kernel / 2).squeeze(0);
    const auto norms = layer.v.norm(1, {-1}).amax(1, true); // [num_kv_heads, 1]
    const auto weighted = pooled * repeat_heads(norms, shape);
    const auto scores = weighted.view({shape.num_kv_heads, shape.group_size(), -1}).amax(1);
    if (!std::isfinite(plain_entropy(scores))) { // a layer's claim on the budget; here there is one layer
        return {};
    }
    const auto flat = scores.flatten();
    const auto chosen = std::get<1>(flat.topk((budget - window) * shape.num_kv_heads));
    return at::zeros_like(flat, at::kBool).index_fill_(0, chosen, true).view_as(scores);
}

} // namespace lava::bench
