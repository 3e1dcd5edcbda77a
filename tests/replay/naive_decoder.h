#pragma once

#include "model/checkpoint.h"
#include "traces/trace.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

namespace lava::testing {

/// A Llama that decodes one row, one token at a time, in float64, as the definitions read: what is evicted is masked
/// in each query head's softmax over all of the recorded prompt. Shares no code with the decoder or the batch.
class NaiveDecoder
{
public:
    /// kept: [num_layers, cache heads, seq_len] bool; cache heads are KV heads or query heads
    NaiveDecoder(const Trace& trace, const Checkpoint& checkpoint, at::Tensor kept)
        : trace_(trace)
        , checkpoint_(checkpoint)
        , config_(checkpoint.config())
        , kept_(std::move(kept))
    {
        for (std::int64_t layer = 0; layer < config_.shape.num_layers; ++layer) {
            const auto view = trace.layer(layer);
            k_.push_back(view.k.to(at::kDouble));
            v_.push_back(view.v.to(at::kDouble));
        }
    }

    /// Logits [vocab_size] after `id`; the residual stream after every layer is appended to `stream`.
    at::Tensor step(std::int64_t id)
    {
        auto x = weight("model.embed_tokens.weight", {config_.vocab_size, config_.shape.hidden_size})[id];
        for (std::int64_t layer = 0; layer < config_.shape.num_layers; ++layer) {
            x = x + attention(layer, norm(x, name(layer, "input_layernorm")));
            x = x + mlp(layer, norm(x, name(layer, "post_attention_layernorm")));
            stream.push_back(x);
        }
        ++steps_;
        const auto head = config_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
        return at::mv(weight(head, {config_.vocab_size, config_.shape.hidden_size}), norm(x, "model.norm.weight"));
    }

    /// [hidden_size]: the residual stream after a layer, from that after its attention.
    at::Tensor layer_output(std::int64_t layer, const at::Tensor& resid_mid) const
    {
        return resid_mid + mlp(layer, norm(resid_mid, name(layer, "post_attention_layernorm")));
    }

    std::vector<at::Tensor> stream; ///< [steps * num_layers] of [hidden_size]

private:
    static std::string name(std::int64_t layer, const std::string& module)
    {
        return "model.layers." + std::to_string(layer) + "." + module + ".weight";
    }

    at::Tensor weight(const std::string& which, std::vector<std::int64_t> shape) const
    {
        return checkpoint_.tensor(which, shape).to(at::kDouble);
    }

    at::Tensor norm(const at::Tensor& x, const std::string& which) const
    {
        return x / at::sqrt(x.square().mean() + config_.rms_norm_eps) * weight(which, {x.size(0)});
    }

    at::Tensor rotated(const at::Tensor& x) const // [heads, head_dim]
    {
        const auto dim = config_.shape.head_dim, half = dim / 2;
        const auto position = static_cast<float>(trace_.info().seq_len + steps_);
        auto result = x.clone();
        for (std::int64_t i = 0; i < half; ++i) {
            // the angle in float32, as the models' own code has it: at far positions its rounding outweighs all others
            const float wavelength
                = std::pow(static_cast<float>(config_.rope.theta), static_cast<float>(2 * i) / static_cast<float>(dim));
            const double angle = position * (1 / wavelength);
            const auto a = x.select(1, i), b = x.select(1, i + half);
            result.select(1, i).copy_(a * std::cos(angle) - b * std::sin(angle));
            result.select(1, i + half).copy_(b * std::cos(angle) + a * std::sin(angle));
        }
        return result;
    }

    at::Tensor attention(std::int64_t layer, const at::Tensor& x)
    {
        const auto& shape = config_.shape;
        const auto project = [&](const char* module, std::int64_t heads) {
            const auto w = weight(name(layer, module), {heads * shape.head_dim, shape.hidden_size});
            return at::mv(w, x).view({heads, shape.head_dim});
        };
        const auto q = rotated(project("self_attn.q_proj", shape.num_heads));
        auto& k = k_[static_cast<std::size_t>(layer)];
        auto& v = v_[static_cast<std::size_t>(layer)];
        k = at::cat({k, rotated(project("self_attn.k_proj", shape.num_kv_heads)).unsqueeze(1)}, 1);
        v = at::cat({v, project("self_attn.v_proj", shape.num_kv_heads).unsqueeze(1)}, 1);
        std::vector<at::Tensor> z;
        for (std::int64_t head = 0; head < shape.num_heads; ++head) {
            const auto kv_head = head / shape.group_size();
            auto scores = at::mv(k[kv_head], q[head]) / std::sqrt(static_cast<double>(shape.head_dim));
            if (const auto window = config_.layer_window[static_cast<std::size_t>(layer)]; window > 0)
                scores.slice(0, 0, -window).fill_(-INFINITY); // the last key is the query's own
            scores.narrow(0, 0, trace_.info().seq_len)
                .masked_fill_(kept_[layer][head * kept_.size(1) / shape.num_heads].logical_not(), -INFINITY);
            z.push_back(at::mv(v[kv_head].t(), at::softmax(scores, 0)));
        }
        const auto w_o = weight(name(layer, "self_attn.o_proj"), {shape.hidden_size, shape.num_heads * shape.head_dim});
        return at::mv(w_o, at::cat(z));
    }

    at::Tensor mlp(std::int64_t layer, const at::Tensor& x) const
    {
        const auto hidden = config_.shape.hidden_size, wide = config_.intermediate_size;
        const auto gate = at::mv(weight(name(layer, "mlp.gate_proj"), {wide, hidden}), x);
        const auto up = at::mv(weight(name(layer, "mlp.up_proj"), {wide, hidden}), x);
        return at::mv(weight(name(layer, "mlp.down_proj"), {hidden, wide}), gate * at::sigmoid(gate) * up);
    }

    const Trace& trace_;
    const Checkpoint& checkpoint_;
    ModelConfig config_;
    at::Tensor kept_;
    std::vector<at::Tensor> k_, v_; // per layer [num_kv_heads, N + steps, head_dim]
    std::int64_t steps_ = 0;
};

} // namespace lava::testing
