#include "model/llama_layer.h"

#include "model/linear.h"
#include "model/parallel.h"
#include "traces/error.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>

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

at::Device parse_device(const std::string& name)
{
    if (name == "cpu")
        return at::kCPU;
    int index = 0;
    if (name != "cuda") {
        const char *begin = name.data() + std::min<std::size_t>(5, name.size()), *end = name.data() + name.size();
        const auto [stop, error] = std::from_chars(begin, end, index);
        if (!name.starts_with("cuda:") || error != std::errc() || stop != end || index < 0 || index > 127)
            throw Error("device '" + name + "': expected cpu, cuda or cuda:N");
    }
    const auto count = at::hasCUDA() ? static_cast<int>(at::getNumGPUs()) : 0;
    if (index >= count)
        throw Error("device '" + name + "': no such device: LibTorch finds " + std::to_string(count)
            + " CUDA devices on this machine");
    return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

/// [n, heads * head_dim] -> [heads, n, head_dim]
at::Tensor split_heads(const at::Tensor& x, std::int64_t head_dim)
{
    return x.view({x.size(0), -1, head_dim}).transpose(0, 1).contiguous();
}

} // namespace

WeightLoader::WeightLoader(Checkpoint checkpoint, const DecoderOptions& options, Inspection* inspected)
    : checkpoint_(std::move(checkpoint))
    , device_(parse_device(options.device))
    , dtype_(parse_dtype(options.dtype))
    , inspected_(inspected)
{ }

at::Tensor WeightLoader::operator()(const std::string& name, const std::vector<std::int64_t>& shape) const
{
    const auto stored = checkpoint_.tensor(name, shape);
    if (inspected_) {
        const bool fits = stored.scalar_type() == dtype_ && device_.is_cpu();
        if (inspected_->names.insert(name).second && !fits)
            inspected_->converted_bytes += stored.numel() * static_cast<std::int64_t>(at::elementSize(dtype_));
        return stored;
    }
    checkpoint_.require_finite(name);
    const auto converted = stored.to(device_, dtype_);
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
    const auto split = split_heads(projected, head_dim);
    return norm.defined() ? rms_norm(split, norm, eps) : split;
}

at::Tensor LlamaLayer::attention(const at::Tensor& x, const Rope& rope, const Attend& attend, const Hook& hook) const
{
    const auto rotate = [&](const at::Tensor& plain) { return has_rope ? apply_rope(plain, rope) : plain; };
    hook("attn_in", x);
    const auto q_pre_rope = heads(project(x, w_q, b_q), q_norm);
    hook("q_pre_rope", q_pre_rope);
    const auto q = rotate(q_pre_rope);
    const auto k = rotate(heads(project(x, w_k, b_k), k_norm));
    const auto v = split_heads(project(x, w_v, b_v), head_dim);
    hook("q", q);
    hook("k", k);
    hook("v", v);
    const auto z = attend(q, k, v);
    hook("z", z);
    return project(z, w_o, b_o);
}

namespace {

/// silu(gate) * up, in place of gate. ATen's silu rounds the last elements of what a thread is given differently, so
/// each thread is given the same rows whatever their number.
at::Tensor gated(const at::Tensor& gate, const at::Tensor& up)
{
    if (!gate.is_cpu()) {
        return at::silu(gate).mul_(up);
    }
    constexpr std::int64_t rows = 64;
    const auto blocks = (gate.size(0) + rows - 1) / rows;
    parallel_items(blocks, blocks == 1 ? 1 : at::get_num_threads(), [&](std::int64_t block) {
        const auto count = std::min(rows, gate.size(0) - block * rows);
        auto part = gate.narrow(0, block * rows, count);
        at::silu_(part).mul_(up.narrow(0, block * rows, count));
    });
    return gate;
}

} // namespace

at::Tensor LlamaLayer::mlp(const at::Tensor& x) const
{
    return project(gated(project(x, w_gate, b_gate), project(x, w_up, b_up)), w_down, b_down);
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

at::Tensor LlamaLayer::forward(
    const at::Tensor& resid_pre, const Rope& rope, const Attend& attend, const Hook& hook) const
{
    hook("resid_pre", resid_pre);
    const auto attn_out = attention(rms_norm(resid_pre, input_norm, eps), rope, attend, hook);
    hook("attn_out", attn_out);
    const auto resid_mid = resid_pre + attn_out;
    hook("resid_mid", resid_mid);
    const auto mlp_out = mlp(rms_norm(resid_mid, post_attention_norm, eps));
    hook("mlp_out", mlp_out);
    const auto resid_post = resid_mid + mlp_out;
    hook("resid_post", resid_post);
    return resid_post;
}

} // namespace lava
