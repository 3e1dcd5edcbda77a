#include "model/llama_layer.h"

#include "model/linear.h"
#include "model/own_pages.h"
#include "model/parallel.h"
#include "traces/error.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

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
    const auto least = (n + most_block_rows - 1) / most_block_rows;
    return least > 16 ? (least + 15) / 16 * 16
                      : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(least)));
}

/// Calls work(first, count) for blocks of n rows; on the CPU by at::get_num_threads() threads. A result that depends on
/// its block alone does not depend on their number.
void by_rows(std::int64_t n, const at::Device& device, const std::function<void(std::int64_t, std::int64_t)>& work)
{
    if (!device.is_cpu() || n <= most_block_rows) { // few rows: the products themselves use the threads
        work(0, n);
        return;
    }
    const auto blocks = block_count(n), rows = (n + blocks - 1) / blocks;
    parallel_items((n + rows - 1) / rows, at::get_num_threads(), [&](std::int64_t block) {
        const auto first = block * rows;
        work(first, std::min(rows, n - first));
    });
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
    const auto wide = x.to(at::kFloat);
    const auto scale = at::rsqrt(wide.pow(2).mean(-1, true) + eps);
    return weight * (wide * scale).to(x.scalar_type());
}

LlamaLayer::LlamaLayer(const WeightLoader& load, const ModelConfig& config, std::int64_t layer)
    : head_dim(config.shape.head_dim)
    , has_rope(config.layer_has_rope[static_cast<std::size_t>(layer)])
    , eps(config.rms_norm_eps)
{
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
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

/// [n, heads * head_dim] -> [heads, n, head_dim], normalized where the model does that
at::Tensor LlamaLayer::heads(const at::Tensor& projected, const at::Tensor& norm) const
{
    const auto split = projected.view({projected.size(0), -1, head_dim}).transpose(0, 1);
    return norm.defined() ? rms_norm(split, norm, eps) : split;
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
        const auto put = [&](const at::Tensor& whole, std::int64_t dim, const at::Tensor& part) {
            if (whole.defined())
                whole.narrow(dim, first, count).copy_(part);
        };
        const Rope angles{rope.cos.narrow(0, first, count), rope.sin.narrow(0, first, count)};
        const auto rotate = [&](const at::Tensor& plain) { return has_rope ? apply_rope(plain, angles) : plain; };
        const auto x = rms_norm(resid_pre.narrow(0, first, count), input_norm, eps);
        const auto q_pre_rope = heads(project(x, w_q, b_q), q_norm);
        put(all.attn_in, 0, x);
        put(all.q_pre_rope, 1, q_pre_rope);
        put(all.q, 1, rotate(q_pre_rope));
        put(all.k, 1, rotate(heads(project(x, w_k, b_k), k_norm)));
        put(all.v, 1, project(x, w_v, b_v).view({count, -1, head_dim}).transpose(0, 1));
    });
    return all;
}

at::Tensor LlamaLayer::mlp(const at::Tensor& x) const
{
    const auto gate = at::silu(project(x, w_gate, b_gate));
    return project(gate.mul_(project(x, w_up, b_up)), w_down, b_down);
}

namespace {

/// x / |x| - (x - d) / |x - d| times the norm's weight, |.| the root mean square: x [t, size], d [n / t, t, size]
/// float64.
at::Tensor norm_change(const at::Tensor& x, const at::Tensor& d, const at::Tensor& weight, double eps)
{
    const auto square = x.square().mean(-1, true) + eps;
    const auto square_change = (d * (d - 2 * x)).mean(-1, true);
    const auto before = square.sqrt(), after = (square + square_change).sqrt();
    const auto inverse_change = square_change / (before * after * (before + after));
    return (d / after + x * inverse_change) * weight.to(at::kDouble);
}

} // namespace

at::Tensor LlamaLayer::mlp_change(const at::Tensor& resid_mid, const at::Tensor& change) const
{
    const auto t = resid_mid.size(0), hidden = resid_mid.size(1), n = change.size(0);
    const auto normalized = rms_norm(resid_mid, post_attention_norm, eps);
    const auto gate = project(normalized, w_gate, b_gate).to(at::kDouble);
    const auto up = project(normalized, w_up, b_up).to(at::kDouble);
    const auto x_change = norm_change(
        resid_mid.to(at::kDouble), change.to(at::kDouble).view({n / t, t, hidden}), post_attention_norm, eps);
    const auto narrow_change = x_change.to(resid_mid.scalar_type()).view({n, hidden});
    const auto wide = [&](const at::Tensor& weight) {
        return project(narrow_change, weight).to(at::kDouble).view({n / t, t, weight.size(0)});
    };
    const auto gate_after = at::silu(gate - wide(w_gate)); // float64, so that little is lost where it is subtracted
    const auto product_change = (at::silu(gate) - gate_after) * up + gate_after * wide(w_up);
    return project(product_change.to(resid_mid.scalar_type()).view({n, -1}), w_down);
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
