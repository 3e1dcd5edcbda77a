#pragma once

#include "model/decoder.h"
#include "model/rope.h"

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

namespace lava {

/// What a WeightLoader was asked for.
struct Inspection
{
    std::set<std::string> names;
    std::int64_t converted_bytes = 0; ///< of those on the CPU that are not used as they lie in the file
};

/// Loads weights onto a device in a dtype, or looks whether they are there.
class WeightLoader
{
public:
    /// `dtype` as in DecoderOptions; throws Error for an unknown one.
    WeightLoader(Checkpoint checkpoint, at::Device device, const std::string& dtype);
    /// Nothing is read or converted any more: the tensors are views into the file, and they are noted in `inspected`.
    WeightLoader& only_look(Inspection& inspected);
    /// What is converted on the CPU leaves memory as soon as it is dropped.
    WeightLoader& streamed();

    /// Throws Error naming file and tensor where it is not there, has another shape, or holds NaN or infinity, be it
    /// only after the conversion.
    at::Tensor operator()(const std::string& name, const std::vector<std::int64_t>& shape) const;

private:
    at::Tensor convert(const at::Tensor& stored) const;

    Checkpoint checkpoint_;
    at::Device device_;
    at::ScalarType dtype_;
    Inspection* inspected_ = nullptr;
    bool streamed_ = false;
};

/// An observer, if there is one, bound to a layer.
struct Hook
{
    Observer* observer;
    std::int64_t layer;

    bool wants(std::string_view name) const { return observer && observer->wants(name); }
    void operator()(std::string_view name, const at::Tensor& value) const
    {
        if (wants(name))
            observer->on(name, layer, value);
    }
};

/// x [n, hidden_size] over its root mean square, times weight [hidden_size]; the mean is float32.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// One layer of a Llama or of a family that derives from it: what it holds and what it does to the residual stream.
struct LlamaLayer
{
    at::Tensor input_norm, post_attention_norm; // [hidden_size]
    at::Tensor w_q; // [num_heads * head_dim, hidden_size]
    at::Tensor w_k, w_v; // [num_kv_heads * head_dim, hidden_size]
    at::Tensor w_o; // [hidden_size, num_heads * head_dim]
    at::Tensor w_gate, w_up; // [intermediate_size, hidden_size]
    at::Tensor w_down; // [hidden_size, intermediate_size]
    // biases of the above, undefined where the model has none
    at::Tensor b_q, b_k, b_v, b_o, b_gate, b_up, b_down;
    at::Tensor q_norm, k_norm; // [head_dim], undefined where the model has none
    std::int64_t head_dim;
    bool has_rope; // rotates queries and keys
    double eps;

    LlamaLayer(const WeightLoader& load, const ModelConfig& config, std::int64_t layer);

    /// resid_pre [n, hidden_size] -> resid_post.
    at::Tensor forward(const at::Tensor& resid_pre, const Rope& rope, const Attend& attend, const Hook& hook) const;

    /// How much more the FFN adds to resid_mid [t, hidden_size] than to resid_mid - change, for every row of change
    /// [n, hidden_size], whose row i belongs to row i % t; all of it float32 on the CPU. Formed from the change, not by
    /// subtracting two outputs: as exact for the smallest change as for the largest.
    at::Tensor mlp_change(const at::Tensor& resid_mid, const at::Tensor& change) const;

private:
    void load_attention(const WeightLoader& load, const ModelConfig& config, const std::string& prefix);
    void load_mlp(const WeightLoader& load, const ModelConfig& config, const std::string& prefix);
    void place_heads(const at::Tensor& projected, const Rope* rope, const at::Tensor& whole, std::int64_t first) const;

    /// What the attention reads, for all rows; what only a hook sees is undefined where it does not want it.
    struct Heads
    {
        at::Tensor attn_in; // [n, hidden_size]
        at::Tensor q_pre_rope, q; // [num_heads, n, head_dim]
        at::Tensor k, v; // [num_kv_heads, n, head_dim]
    };
    Heads project_heads(const at::Tensor& resid_pre, const Rope& rope, const Hook& hook) const;

    /// What comes after the attention, for all rows, [n, hidden_size] each; undefined as in Heads.
    struct Stream
    {
        at::Tensor attn_out, resid_mid, mlp_out, resid_post;
    };
    Stream add_to_stream(const at::Tensor& resid_pre, const at::Tensor& z, const Hook& hook) const;
    at::Tensor mlp(const at::Tensor& x) const;
};

} // namespace lava
