#include "replay/losses/reference_loss.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace lava {

namespace {

struct Attention
{
    at::Tensor pattern; // [num_heads, T, N + T]
    at::Tensor values; // [num_heads, N + T, head_dim]
};

at::Tensor repeat_heads(const at::Tensor& x, const LayerView& layer)
{
    return x.to(at::kDouble).repeat_interleave(layer.shape.group_size(), 0);
}

// [T, N + T] bool: a query sees the keys from its own position back to the end of its window.
at::Tensor visible_keys(const LayerView& layer)
{
    const auto keys = at::arange(layer.seq_len + layer.eval_len, at::kLong).unsqueeze(0);
    const auto queries = at::arange(layer.seq_len, layer.seq_len + layer.eval_len, at::kLong).unsqueeze(1);
    const auto past = keys <= queries;
    return layer.sliding_window == 0 ? past : past & (keys > queries - layer.sliding_window);
}

Attention attention(const LayerView& layer)
{
    const auto keys = repeat_heads(at::cat({layer.k, layer.k_eval}, 1), layer);
    auto logits = at::bmm(layer.q_eval.to(at::kDouble), keys.transpose(1, 2))
        / std::sqrt(static_cast<double>(layer.shape.head_dim));
    logits.masked_fill_(visible_keys(layer).logical_not(), -std::numeric_limits<double>::infinity());
    return {at::softmax(logits, -1), repeat_heads(at::cat({layer.v, layer.v_eval}, 1), layer)};
}

at::Tensor outputs(const Attention& attention) // [num_heads, T, head_dim]
{
    return at::bmm(attention.pattern, attention.values);
}

at::Tensor project(const at::Tensor& z, const LayerView& layer) // [num_heads, T, head_dim] -> [T, hidden_size]
{
    return at::mm(z.permute({1, 0, 2}).reshape({layer.eval_len, -1}), layer.w_o.to(at::kDouble).t());
}

template <typename T> std::vector<T> values_of(const at::Tensor& tensor)
{
    const at::Tensor values = tensor.to(c10::CppTypeToScalarType<T>::value).contiguous();
    return {values.const_data_ptr<T>(), values.const_data_ptr<T>() + values.numel()};
}

at::Tensor l1_norm(const at::Tensor& x)
{
    return x.abs().sum(-1);
}
at::Tensor l2_norm(const at::Tensor& x)
{
    return x.square().sum(-1).sqrt();
}

// [num_heads, T]: maximum of norms [num_heads, N + T] over the entries that each step sees
at::Tensor largest_seen(const at::Tensor& norms, const LayerView& layer)
{
    return (norms.unsqueeze(1) * visible_keys(layer)).amax(2);
}

} // namespace

LayerLosses reference_losses(const LayerView& layer, const at::Tensor& kept)
{
    const auto& shape = layer.shape;
    const auto full = attention(layer);
    const auto decode = at::ones({shape.num_kv_heads, layer.eval_len}, at::kBool);
    const auto mask = at::cat({kept, decode}, 1).repeat_interleave(shape.group_size(), 0).unsqueeze(1);
    auto masked = full.pattern * mask.to(at::kDouble);
    const auto evicted_mass = (full.pattern * mask.logical_not().to(at::kDouble)).sum(-1); // [num_heads, T]
    const Attention evicted{masked / masked.sum(-1, true), full.values};
    const auto head_difference = outputs(full) - outputs(evicted);
    const auto difference = project(head_difference, layer);

    const auto w_o = layer.w_o.to(at::kDouble);
    const auto projections = w_o.view({shape.hidden_size, shape.num_heads, shape.head_dim}).permute({1, 2, 0});
    const auto projected = largest_seen(l1_norm(at::bmm(full.values, projections)), layer); // [num_heads, T]
    const auto value_norm = largest_seen(l1_norm(full.values), layer);
    const auto row_sum = w_o.abs().sum(0).max();

    LayerLosses losses;
    losses.head_l1 = values_of<float>(l1_norm(full.pattern - evicted.pattern));
    losses.head_output_l1 = values_of<float>(l1_norm(head_difference));
    losses.head_output_l2 = values_of<float>(l2_norm(head_difference));
    losses.attn_out_l1 = values_of<double>(l1_norm(difference));
    losses.attn_out_l2 = values_of<double>(l2_norm(difference));
    losses.bound_lava = values_of<double>(2 * row_sum * (value_norm * evicted_mass).sum(0));
    losses.bound_adakv = values_of<double>(2 * projected.amax(0) * evicted_mass.sum(0));
    losses.bound_projected = values_of<double>(2 * (projected * evicted_mass).sum(0));
    return losses;
}

LayerNorms reference_norms(const LayerView& layer)
{
    const auto z = outputs(attention(layer));
    auto y = project(z, layer);
    if (layer.b_o.defined()) {
        y += layer.b_o.to(at::kDouble);
    }
    LayerNorms norms;
    norms.head_output_l1 = values_of<float>(l1_norm(z));
    norms.head_output_l2 = values_of<float>(l2_norm(z));
    norms.attn_out_l1 = values_of<double>(l1_norm(y));
    norms.attn_out_l2 = values_of<double>(l2_norm(y));
    return norms;
}

} // namespace lava
