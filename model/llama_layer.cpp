#include "model/llama_layer.h"

#include "model/linear.h"
#include "traces/error.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

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

WeightLoader::WeightLoader(const Checkpoint& checkpoint, const DecoderOptions& options)
    : checkpoint_(checkpoint)
    , device_(parse_device(options.device))
    , dtype_(parse_dtype(options.dtype))
{ }

at::Tensor WeightLoader::operator()(const std::string& name, const std::vector<std::int64_t>& shape) const
{
    return checkpoint_.tensor(name, shape).to(device_, dtype_);
}

void WeightLoader::refuse_bias(const std::string& module) const
{
    if (checkpoint_.has(module + ".bias"))
        throw Error("tensor " + module + ".bias: a model with biases is not supported");
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps)
{
    const auto wide = x.to(at::kFloat);
    const auto scale = at::rsqrt(wide.pow(2).mean(-1, true) + eps);
    return weight * (wide * scale).to(x.scalar_type());
}

LlamaLayer::LlamaLayer(const WeightLoader& load, const ModelConfig& config, std::int64_t layer)
    : head_dim(config.shape.head_dim)
    , eps(config.rms_norm_eps)
{
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto hidden = config.shape.hidden_size, wide = config.intermediate_size;
    const auto q_dim = config.shape.num_heads * head_dim, kv_dim = config.shape.num_kv_heads * head_dim;
    const auto projection = [&](const char* module, std::int64_t out, std::int64_t in) {
        load.refuse_bias(prefix + module);
        return load(prefix + module + ".weight", {out, in});
    };
    input_norm = load(prefix + "input_layernorm.weight", {hidden});
    post_attention_norm = load(prefix + "post_attention_layernorm.weight", {hidden});
    w_q = projection("self_attn.q_proj", q_dim, hidden);
    w_k = projection("self_attn.k_proj", kv_dim, hidden);
    w_v = projection("self_attn.v_proj", kv_dim, hidden);
    w_o = projection("self_attn.o_proj", hidden, q_dim);
    w_gate = projection("mlp.gate_proj", wide, hidden);
    w_up = projection("mlp.up_proj", wide, hidden);
    w_down = projection("mlp.down_proj", hidden, wide);
}

at::Tensor LlamaLayer::attention(const at::Tensor& x, const Rope& rope, const Attend& attend, const Hook& hook) const
{
    hook("attn_in", x);
    const auto q_pre_rope = split_heads(project(x, w_q), head_dim);
    hook("q_pre_rope", q_pre_rope);
    const auto q = apply_rope(q_pre_rope, rope);
    const auto k = apply_rope(split_heads(project(x, w_k), head_dim), rope);
    const auto v = split_heads(project(x, w_v), head_dim);
    hook("q", q);
    hook("k", k);
    hook("v", v);
    const auto z = attend(q, k, v);
    hook("z", z);
    return project(z, w_o);
}

at::Tensor LlamaLayer::mlp(const at::Tensor& x) const
{
    return project(at::silu(project(x, w_gate)).mul_(project(x, w_up)), w_down);
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
