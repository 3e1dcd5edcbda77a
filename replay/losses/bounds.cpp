#include "replay/losses/bounds.h"

#include "compute/cpu/arithmetic.h"
#include "compute/cpu/descending_order.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

// A prompt's entries that every step sees are its last ones; before them come those that leave the window during the
// steps, and before those what no step sees.
struct SeenPrompt
{
    std::int64_t leaving; // first of them
    std::int64_t lasting; // first of them; seq_len: none
};

SeenPrompt seen_prompt(const LayerView& layer)
{
    const auto first = [&](std::int64_t step) { return std::min(layer.seq_len, layer.first_seen_by(step)); };
    return {first(0), first(layer.eval_len - 1)};
}

// Largest of the norms from `begin` to `end` and of `largest`.
double raised(double largest, const at::Tensor& norms, std::int64_t begin, std::int64_t end)
{
    const auto values = norms.contiguous();
    const auto* data = values.const_data_ptr<float>();
    std::for_each(
        data + begin, data + end, [&](float norm) { largest = std::max(largest, static_cast<double>(norm)); });
    return largest;
}

// [T] the largest norm that each step sees. lasting: of the prompt's entries that all steps see; leaving: of those that
// leave the window; decode: [T]
void largest_seen(
    const LayerView& layer, double lasting, const at::Tensor& leaving, const at::Tensor& decode, double* out)
{
    const auto left = seen_prompt(layer).leaving; // before the first step
    for (std::int64_t step = 0; step < layer.eval_len; ++step) {
        lasting = raised(lasting, decode, step, step + 1);
        const auto first = layer.first_seen_by(step);
        out[step] = first > layer.seq_len
            ? raised(0, decode, first - layer.seq_len, step + 1) // nothing of the prompt is left
            : raised(lasting, leaving, std::min(first - left, leaving.numel()), leaving.numel());
    }
}

// [head_dim, head_dim] lower triangular L with ||v L||_2 >= ||v W||_2 for every v: L L^T is the Gram matrix of W plus
// what fp32 can have lost of it and of products with it, for a W of low rank more than is left. Empty where W is 0.
at::Tensor limiting_factor(const at::Tensor& w)
{
    const auto gram = at::mm(w, w.t()).to(at::kDouble);
    const auto lost = static_cast<double>(w.size(1) + 2 * w.size(0)) * 0x1p-24 * gram.trace().item<double>();
    if (lost == 0) {
        return {};
    }
    gram.diagonal().add_(lost);
    return at::linalg_cholesky(gram).to(at::kFloat).contiguous();
}

// Adds the squared norms [n] of v [n, head_dim] times columns first .. first + count of L, whose rows before `first`
// are 0 there.
void add_squares(
    const at::Tensor& v, const at::Tensor& factor, std::int64_t first, std::int64_t count, std::vector<double>& squares)
{
    const auto dim = factor.size(0);
    const auto width = kernels().panel_columns;
    std::vector<float> panel(static_cast<std::size_t>((dim - first) * width));
    for (auto row = first; row < dim; ++row) {
        const auto* from = factor.const_data_ptr<float>() + row * dim + first;
        std::copy(from, from + count, panel.data() + (row - first) * width);
    }
    std::vector<double> l1(squares.size());
    std::vector<double> l2(squares.size());
    kernels().product_norms(
        v.const_data_ptr<float>() + first, dim, v.size(0), {panel.data(), dim - first, count}, l1.data(), l2.data());
    std::transform(
        squares.begin(), squares.end(), l2.begin(), squares.begin(), [](double sum, double x) { return sum + x * x; });
}

// Upper limits of ||v_i W||_1, [n], at head_dim / hidden_size of the work: ||x||_1 <= sqrt(hidden_size) ||x||_2.
std::vector<float> projected_limits(const at::Tensor& v, const at::Tensor& w)
{
    std::vector<double> squares(static_cast<std::size_t>(v.size(0)));
    if (const auto factor = limiting_factor(w); factor.defined()) {
        const auto width = kernels().panel_columns;
        for (std::int64_t first = 0; first < factor.size(0); first += width) {
            add_squares(v, factor, first, std::min(width, factor.size(0) - first), squares);
        }
    }
    std::vector<float> limits;
    for (const auto square : squares) {
        limits.push_back(static_cast<float>(std::sqrt(square * static_cast<double>(w.size(1)))));
    }
    return limits;
}

// max_i ||v_i W||_1. v: [n, head_dim], w: [head_dim, hidden_size]. Only entries that can still be the largest are
// projected, in descending order of their limits.
double largest_projected_norm(const at::Tensor& v, const at::Tensor& w)
{
    constexpr std::int64_t block = 64;
    constexpr float margin = 1 + 1e-5F; // the limits are rounded to fp32
    const auto limits = projected_limits(v, w);
    std::vector<std::uint32_t> order(limits.size());
    descending_order(limits.data(), v.size(0), order.data());
    double largest = 0;
    for (std::int64_t begin = 0; begin < v.size(0); begin += block) {
        if (static_cast<double>(limits[order[static_cast<std::size_t>(begin)]] * margin) < largest) {
            break;
        }
        const auto end = order.begin() + std::min(begin + block, v.size(0));
        const std::vector<std::int64_t> rows(order.begin() + begin, end);
        largest = std::max(largest, at::mm(v.index_select(0, at::tensor(rows)), w).abs().sum(1).max().item<double>());
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
    const auto seen = seen_prompt(layer);
    const auto leaving = [&](const at::Tensor& v) { return v.narrow(0, seen.leaving, seen.lasting - seen.leaving); };
    const auto lasting = [&](const at::Tensor& v) { return v.narrow(0, seen.lasting, v.size(0) - seen.lasting); };
    for (std::int64_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
        const auto norms = layer.v[kv_head].abs().sum(1);
        const auto largest = raised(0, lasting(norms), 0, layer.seq_len - seen.lasting);
        largest_seen(layer, largest, leaving(norms), layer.v_eval[kv_head].abs().sum(1),
            terms.value_norm.data() + kv_head * steps);
    }
    parallel_items(shape.num_heads, threads, [&](std::int64_t head) {
        const auto kv_head = head / shape.group_size();
        const auto w = layer.w_o.narrow(1, head * shape.head_dim, shape.head_dim).t(); // [head_dim, hidden_size]
        const auto projected = [&](const at::Tensor& v) { return at::mm(v, w).abs().sum(1); };
        const auto v = layer.v[kv_head].contiguous();
        largest_seen(layer, largest_projected_norm(lasting(v), w), projected(leaving(v)),
            projected(layer.v_eval[kv_head]), terms.projected_norm.data() + head * steps);
    });
    return terms;
}

} // namespace lava
