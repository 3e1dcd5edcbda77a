#include "replay/bounds.h"

#include "replay/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

// prompt maximum, raised by each decode entry in turn. prompt: of all prompt entries; decode: [T]
void running_maximum(double prompt, const at::Tensor& decode, double* out)
{
    const auto values = decode.contiguous();
    for (std::int64_t step = 0; step < values.numel(); ++step) {
        prompt = std::max(prompt, static_cast<double>(values.const_data_ptr<float>()[step]));
        out[step] = prompt;
    }
}

// Upper limits of ||v_i W||_1, [n]. The L2 norms come from the Gram matrix, at head_dim / hidden_size of the work:
// ||x||_1 <= sqrt(hidden_size) ||x||_2. What fp32 can have lost of a square, for a W of low rank more than is left, is
// added to it: (length of its sums) * 2^-24 * the same sums over magnitudes, themselves at most |v|^2 trace(Gram).
at::Tensor projected_limits(const at::Tensor& v, const at::Tensor& w)
{
    const auto gram = at::mm(w, w.t());
    const auto lost = static_cast<double>(w.size(1) + 2 * w.size(0)) * 0x1p-24 * gram.trace().item<double>();
    const auto squares = (at::mm(v, gram) * v).sum(1).clamp_min(0).add(v.square().sum(1), lost);
    return squares.mul_(static_cast<double>(w.size(1))).sqrt_();
}

// max_i ||v_i W||_1. v: [n, head_dim], w: [head_dim, hidden_size]. Only entries that can still be the largest are
// projected, in descending order of their limits.
double largest_projected_norm(const at::Tensor& v, const at::Tensor& w)
{
    constexpr std::int64_t block = 64;
    const auto [limits, order] = projected_limits(v, w).sort(0, /*descending=*/true);
    double largest = 0;
    for (std::int64_t begin = 0; begin < v.size(0); begin += block) {
        constexpr double margin = 1 + 1e-5; // the limits are rounded to fp32
        if (limits[begin].item<double>() * margin < largest) {
            break;
        }
        const auto rows = v.index_select(0, order.narrow(0, begin, std::min(block, v.size(0) - begin)));
        largest = std::max(largest, at::mm(rows, w).abs().sum(1).max().item<double>());
    }
    return largest;
}

} // namespace

BoundTerms bound_terms(const LayerView& layer, int threads)
{
    const auto& shape = layer.shape;
    const auto steps = layer.eval_len;
    BoundTerms terms;
    terms.row_sum = layer.w_o.abs().sum(0).max().item<double>();
    terms.value_norm.resize(static_cast<std::size_t>(shape.num_kv_heads * steps));
    terms.projected_norm.resize(static_cast<std::size_t>(shape.num_heads * steps));
    for (std::int64_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
        const auto largest = layer.v[kv_head].abs().sum(1).max().item<double>();
        running_maximum(largest, layer.v_eval[kv_head].abs().sum(1), terms.value_norm.data() + kv_head * steps);
    }
    parallel_tasks(shape.num_heads, threads, [&](std::int64_t head) {
        const auto kv_head = head / shape.group_size();
        const auto w = layer.w_o.narrow(1, head * shape.head_dim, shape.head_dim).t(); // [head_dim, hidden_size]
        const auto decode = at::mm(layer.v_eval[kv_head], w).abs().sum(1);
        running_maximum(
            largest_projected_norm(layer.v[kv_head], w), decode, terms.projected_norm.data() + head * steps);
    });
    return terms;
}

} // namespace lava
