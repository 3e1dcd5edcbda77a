#include "model/llama_layer.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"
#include "compute/cpu/arithmetic.h"
#include "compute/cpu/plain_tensor.h"
#include "compute/linear.h"
#include "compute/own_pages.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <functional>

namespace lava {

namespace {

at::ScalarType parse_dtype(const std::string& name)
{
    if (name == "float32")
        return at::kFloat;
    if (name == "float16")
        return at::kHalf;
    if (name == "bfloat16")
        return at::kBFloat16;
    throw Error("dtype '" + name + "': expected float32, float16 or bfloat16");
}

/// Rows that go through a layer together at most: few enough that on the CPU what lies between two products stays in
/// cache and its memory is used again, enough that the products are as fast as large ones.
constexpr std::int64_t most_block_rows = 256;

/// Into how many blocks of about the same size n rows are cut. Not by the number of threads: what oneDNN's sums come to
/// may depend on the rows. Powers of two and multiples of 16 leave no thread without work for long.
std::int64_t block_count(std::int64_t n)
{
    const auto least = ceil_divide(n, most_block_rows);
    return least > 16 ? rounded_up(least, 16)
                      : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(least)));
}

/// Calls work(first, count) for blocks of n rows; on the CPU by worker_threads() threads. A result that depends on
/// its block alone does not depend on their number.
void by_rows(std::int64_t n, const at::Device& device, const std::function<void(std::int64_t, std::int64_t)>& work)
{
    if (!device.is_cpu() || n <= most_block_rows) {
        const AtenThreads few_rows; // for the products themselves
        work(0, n);
        return;
    }
    const auto blocks = block_count(n), rows = ceil_divide(n, blocks);
    parallel_items(ceil_divide(n, rows), worker_threads(), [&](std::int64_t block) {
        const auto first = block * rows;
        work(first, std::min(rows, n - first));
    });
}

const RowArithmetic& row_arithmetic()
{
    return arithmetic().rows;
}

} // namespace

WeightLoader::WeightLoader(Checkpoint checkpoint, at::Device device, const std::string& dtype)
    : checkpoint_(std::move(checkpoint))
    , device_(device)
    , dtype_(parse_dtype(dtype))
{ }

WeightLoader& WeightLoader::only_look(Inspection& inspected)
{
    inspected_ = &inspected;
    return *this;
}

WeightLoader& WeightLoader::streamed()
{
    streamed_ = true;
    return *this;
}

at::Tensor WeightLoader::convert(const at::Tensor& stored) const
{
    if (!streamed_ || !device_.is_cpu() || stored.scalar_type() == dtype_)
        return stored.to(device_, dtype_);
    return empty_in_own_pages(stored.sizes(), dtype_).copy_(stored);
}

at::Tensor WeightLoader::operator()(const std::string& name, const std::vector<std::int64_t>& shape) const
{
    const auto stored = checkpoint_.tensor(name, shape);
    if (inspected_) {
        const bool takes_memory = stored.scalar_type() != dtype_ && device_.is_cpu();
        if (inspected_->names.insert(name).second && takes_memory)
            inspected_->converted_bytes += stored.numel() * static_cast<std::int64_t>(at::elementSize(dtype_));
        return stored;
    }
    checkpoint_.require_finite(name);
    const auto converted = convert(stored);
    // bfloat16 and float32 reach further than float16
    if (dtype_ == at::kHalf && stored.scalar_type() != at::kHalf && !converted.isfinite().all().item<bool>())
        throw Error("tensor " + name + ": holds numbers beyond float16's largest; run it in another dtype");
    return converted;
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps)
{
    if (is_plain(x) && is_plain(weight)) {
        auto result = at::empty_like(x);
        const auto size = x.size(-1);
        row_arithmetic().rms_norm(x.const_data_ptr<float>(), weight.const_data_ptr<float>(), x.numel() / size, size,
            eps, result.mutable_data_ptr<float>());
        return result;
    }
    const auto wide = x.to(at::kFloat);
    const auto scale = at::rsqrt(wide.pow(2).mean(-1, true) + eps);
    return weight * (wide * scale).to(x.scalar_type());
}

LlamaLayer::LlamaLayer(const WeightLoader& load, const ModelConfig& config, std::int64_t layer)
    : head_dim(config.shape.head_dim)
    , has_rope(config.layer_has_rope[static_cast<std::size_t>(layer)])
    , eps(config.rms_norm_eps)
{
    const std::string prefix = formatted("model.layers.{}.", layer);
    const auto hidden = config.shape.hidden_size;
    input_norm = load(prefix + "input_layernorm.weight", {hidden});
    post_attention_norm = load(prefix + "post_attention_layernorm.weight", {hidden});
    load_attention(load, config, prefix + "self_attn.");
    load_mlp(load, config, prefix + "mlp.");
}

void LlamaLayer::load_attention(const WeightLoader& load, const ModelConfig& config, const std::string& prefix)
{
    const auto hidden = config.shape.hidden_size;
    const auto q_dim = config.shape.num_heads * head_dim, kv_dim = config.shape.num_kv_heads * head_dim;
    if (config.fused_projections) {
        const auto rows = load(prefix + "qkv_proj.weight", {q_dim + 2 * kv_dim, hidden}).split({q_dim, kv_dim, kv_dim});
        w_q = rows[0], w_k = rows[1], w_v = rows[2];
    } else {
        w_q = load(prefix + "q_proj.weight", {q_dim, hidden});
        w_k = load(prefix + "k_proj.weight", {kv_dim, hidden});
        w_v = load(prefix + "v_proj.weight", {kv_dim, hidden});
    }
    w_o = load(prefix + "o_proj.weight", {hidden, q_dim});
    if (config.qkv_bias) {
        b_q = load(prefix + "q_proj.bias", {q_dim});
        b_k = load(prefix + "k_proj.bias", {kv_dim});
        b_v = load(prefix + "v_proj.bias", {kv_dim});
    }
    if (config.output_bias)
        b_o = load(prefix + "o_proj.bias", {hidden});
    if (config.qk_norm) {
        q_norm = load(prefix + "q_norm.weight", {head_dim});
        k_norm = load(prefix + "k_norm.weight", {head_dim});
    }
}

void LlamaLayer::load_mlp(const WeightLoader& load, const ModelConfig& config, const std::string& prefix)
{
    const auto hidden = config.shape.hidden_size, wide = config.intermediate_size;
    if (config.fused_projections) {
        const auto rows = load(prefix + "gate_up_proj.weight", {2 * wide, hidden}).split(wide);
        w_gate = rows[0], w_up = rows[1];
    } else {
        w_gate = load(prefix + "gate_proj.weight", {wide, hidden});
        w_up = load(prefix + "up_proj.weight", {wide, hidden});
    }
    w_down = load(prefix + "down_proj.weight", {hidden, wide});
    if (config.mlp_bias) {
        b_gate = load(prefix + "gate_proj.bias", {wide});
        b_up = load(prefix + "up_proj.bias", {wide});
        b_down = load(prefix + "down_proj.bias", {hidden});
    }
}

/// [n, heads * head_dim] -> [heads, n, head_dim] at rows `first` on of `whole`, turned by `rope` where it is given.
void LlamaLayer::place_heads(
    const at::Tensor& projected, const Rope* rope, const at::Tensor& whole, std::int64_t first) const
{
    const auto n = projected.size(0);
    if (!is_plain(projected) || !is_plain(whole) || (rope && !(is_plain(rope->cos) && is_plain(rope->sin)))) {
        const auto split = projected.view({n, -1, head_dim}).transpose(0, 1);
        whole.narrow(1, first, n).copy_(rope ? apply_rope(split, *rope) : split);
        return;
    }
    const auto* x = projected.const_data_ptr<float>();
    auto* out = whole.mutable_data_ptr<float>() + first * head_dim;
    const auto dim = rope ? rope->cos.size(1) : 0;
    const auto* cos = rope ? rope->cos.const_data_ptr<float>() : nullptr;
    const auto* sin = rope ? rope->sin.const_data_ptr<float>() : nullptr;
    for (std::int64_t row = 0; row < n; ++row) {
        row_arithmetic().rotate({.x = x + row * projected.size(1),
            .heads = whole.size(0),
            .head_dim = head_dim,
            .cos = cos + row * dim,
            .sin = sin + row * dim,
            .dim = dim,
            .out = out + row * head_dim,
            .out_stride = whole.stride(0)});
    }
}

LlamaLayer::Heads LlamaLayer::project_heads(const at::Tensor& resid_pre, const Rope& rope, const Hook& hook) const
{
    const auto n = resid_pre.size(0);
    const auto room = [&](const at::Tensor& weight) {
        return at::empty({weight.size(0) / head_dim, n, head_dim}, resid_pre.options());
    };
    Heads all{.attn_in = {}, .q_pre_rope = {}, .q = room(w_q), .k = room(w_k), .v = room(w_v)};
    if (hook.wants("attn_in"))
        all.attn_in = at::empty_like(resid_pre);
    if (hook.wants("q_pre_rope"))
        all.q_pre_rope = at::empty_like(all.q);
    by_rows(n, resid_pre.device(), [&](std::int64_t first, std::int64_t count) {
        const Rope angles{rope.cos.narrow(0, first, count), rope.sin.narrow(0, first, count)};
        const Rope* turn = has_rope ? &angles : nullptr;
        const auto heads = [&](const at::Tensor& projected, const at::Tensor& norm) {
            return norm.defined() ? rms_norm(projected.view({-1, head_dim}), norm, eps).view(projected.sizes())
                                  : projected;
        };
        const auto x = rms_norm(resid_pre.narrow(0, first, count), input_norm, eps);
        if (all.attn_in.defined())
            all.attn_in.narrow(0, first, count).copy_(x);
        const auto q = heads(project(x, w_q, b_q), q_norm);
        if (all.q_pre_rope.defined())
            place_heads(q, nullptr, all.q_pre_rope, first);
        place_heads(q, turn, all.q, first);
        place_heads(heads(project(x, w_k, b_k), k_norm), turn, all.k, first);
        place_heads(project(x, w_v, b_v), nullptr, all.v, first);
    });
    return all;
}

at::Tensor LlamaLayer::mlp(const at::Tensor& x) const
{
    auto gate = project(x, w_gate, b_gate);
    const auto up = project(x, w_up, b_up);
    if (is_plain(gate) && is_plain(up))
        row_arithmetic().gate(gate.mutable_data_ptr<float>(), up.const_data_ptr<float>(), gate.numel());
    else
        gate = at::silu(gate).mul_(up);
    return project(gate, w_down, b_down);
}

namespace {

/// Row i % t of [t, size].
template <typename T> const T* row_of(const at::Tensor& rows, std::int64_t i)
{
    return rows.const_data_ptr<T>() + i % rows.size(0) * rows.size(1);
}

/// What the FFN reads and makes of the rows that others are compared with.
struct FfnRows
{
    at::Tensor resid_mid; // [t, hidden_size]
    at::Tensor squares; // [t, 1] float64: mean squares of resid_mid, plus epsilon
    at::Tensor gate, up; // [t, intermediate_size]
    at::Tensor activated; // silu(gate), float64, so that little is lost where it is subtracted
};

/// Rows [first, first + change.size(0)) of the change before the norm -> after it, in place.
void change_norm(const FfnRows& rows, const at::Tensor& weight, std::int64_t first, at::Tensor& change)
{
    const auto size = change.size(1);
    for (std::int64_t i = 0; i < change.size(0); ++i) {
        auto* d = change.mutable_data_ptr<float>() + i * size;
        row_arithmetic().norm_change({.x = row_of<float>(rows.resid_mid, first + i),
                                         .d = d,
                                         .weight = weight.const_data_ptr<float>(),
                                         .square = *row_of<double>(rows.squares, first + i),
                                         .out = d},
            size);
    }
}

/// Rows [first, first + gate_change.size(0)) of the changes of gate and up -> the change of silu(gate) * up, in place
/// of the gate's.
void change_product(const FfnRows& rows, const at::Tensor& up_change, std::int64_t first, at::Tensor& gate_change)
{
    const auto size = gate_change.size(1);
    for (std::int64_t i = 0; i < gate_change.size(0); ++i) {
        auto* d = gate_change.mutable_data_ptr<float>() + i * size;
        row_arithmetic().gate_change({.gate = row_of<float>(rows.gate, first + i),
                                         .up = row_of<float>(rows.up, first + i),
                                         .activated = row_of<double>(rows.activated, first + i),
                                         .gate_change = d,
                                         .up_change = up_change.const_data_ptr<float>() + i * size,
                                         .product_change = d},
            size);
    }
}

} // namespace

at::Tensor LlamaLayer::mlp_change(const at::Tensor& resid_mid, const at::Tensor& change) const
{
    const auto normalized = rms_norm(resid_mid, post_attention_norm, eps);
    FfnRows rows{.resid_mid = resid_mid.contiguous(),
        .squares = resid_mid.to(at::kDouble).square().mean(-1, true) + eps,
        .gate = project(normalized, w_gate, b_gate),
        .up = project(normalized, w_up, b_up),
        .activated = {}};
    rows.activated = at::empty_like(rows.gate, at::kDouble);
    row_arithmetic().activate(
        rows.gate.const_data_ptr<float>(), rows.gate.numel(), rows.activated.mutable_data_ptr<double>());
    const auto result = at::empty_like(change);
    for (std::int64_t first = 0; first < change.size(0); first += most_block_rows) {
        const auto count = std::min(most_block_rows, change.size(0) - first);
        auto x = change.narrow(0, first, count).clone();
        change_norm(rows, post_attention_norm, first, x);
        auto product = project(x, w_gate);
        change_product(rows, project(x, w_up), first, product);
        result.narrow(0, first, count).copy_(project(product, w_down));
    }
    return result;
}

LlamaLayer::Stream LlamaLayer::add_to_stream(const at::Tensor& resid_pre, const at::Tensor& z, const Hook& hook) const
{
    const auto room
        = [&](std::string_view name) { return hook.wants(name) ? at::empty_like(resid_pre) : at::Tensor(); };
    Stream all{.attn_out = room("attn_out"),
        .resid_mid = room("resid_mid"),
        .mlp_out = room("mlp_out"),
        .resid_post = at::empty_like(resid_pre)};
    by_rows(z.size(0), z.device(), [&](std::int64_t first, std::int64_t count) {
        const auto put = [&](const at::Tensor& whole, const at::Tensor& part) {
            if (whole.defined())
                whole.narrow(0, first, count).copy_(part);
        };
        const auto attn_out = project(z.narrow(0, first, count), w_o, b_o);
        put(all.attn_out, attn_out);
        const auto resid_mid = resid_pre.narrow(0, first, count) + attn_out;
        put(all.resid_mid, resid_mid);
        const auto mlp_out = mlp(rms_norm(resid_mid, post_attention_norm, eps));
        put(all.mlp_out, mlp_out);
        auto resid_post = all.resid_post.narrow(0, first, count);
        at::add_out(resid_post, resid_mid, mlp_out);
    });
    return all;
}

at::Tensor LlamaLayer::forward(
    const at::Tensor& resid_pre, const Rope& rope, const Attend& attend, const Hook& hook) const
{
    hook("resid_pre", resid_pre);
    Heads heads = project_heads(resid_pre, rope, hook);
    hook("attn_in", heads.attn_in);
    hook("q_pre_rope", heads.q_pre_rope);
    hook("q", heads.q);
    hook("k", heads.k);
    hook("v", heads.v);
    const auto z = attend(heads.q, heads.k, heads.v);
    hook("z", z);
    heads = {}; // before the stream takes memory
    const Stream stream = add_to_stream(resid_pre, z, hook);
    hook("attn_out", stream.attn_out);
    hook("resid_mid", stream.resid_mid);
    hook("mlp_out", stream.mlp_out);
    hook("resid_post", stream.resid_post);
    return stream.resid_post;
}

} // namespace lava
