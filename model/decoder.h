#pragma once

#include "model/checkpoint.h"
#include "model/rope.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Sees a run of the decoder. Names are TransformerLens's; n = tokens of this forward call, N = n + what the cache
/// held. Tensors are on the layer's device in the decoder's dtype and may be reused after the call returns.
class Observer
{
public:
    virtual ~Observer() = default;

    /// `name` is one of
    ///   attn_in [n, hidden_size], what the attention reads: resid_pre after the norm,
    ///   q_pre_rope [num_heads, n, head_dim], q before RoPE and after the model's q-norm,
    ///   q [num_heads, n, head_dim], k, v [num_kv_heads, n, head_dim] (q, k after RoPE),
    ///   z [n, num_heads * head_dim], attn_out, resid_pre, resid_mid, mlp_out, resid_post [n, hidden_size],
    ///   observed_attention, observed_attention_off_diagonal [num_heads, N], fp32: column sums of the attention
    ///   probabilities over this call's n queries, with and without each query's own column.
    virtual void on(std::string_view name, std::int64_t layer, const at::Tensor& value) = 0;
    /// Only what is wanted is computed, where it costs something (the column sums).
    virtual bool wants(std::string_view name) const { return (void)name, true; }
};

/// Keys and values of every layer so far.
struct KvCache
{
    std::vector<at::Tensor> k; ///< per layer [num_kv_heads, N, head_dim], after RoPE
    std::vector<at::Tensor> v; ///< per layer [num_kv_heads, N, head_dim]
    std::int64_t length() const { return k.empty() || !k.front().defined() ? 0 : k.front().size(1); }
};

struct DecoderOptions
{
    /// Devices as parse_devices() reads them. Each of several takes a range of layers, with their weights and their
    /// part of the cache (devices_of_layers()); the embedding is on the first one, final norm and lm_head on the last
    /// one.
    std::string device = "cpu";
    std::string dtype; ///< "float32", "float16", "bfloat16"; empty: the checkpoint's on GPUs, float32 on the CPU
    /// Whether to convert the weights of a layer on the CPU when a pass comes to it and to drop them after, which
    /// changes no result; empty: where the converted weights of all of them would not fit into the memory that is free.
    std::optional<bool> stream_weights = std::nullopt;
};

/// What a trace keeps of the rotary embedding, so that it can be undone and applied at other positions.
struct RopeParameters
{
    std::vector<double> inverse_frequencies; ///< [pairs], the angle of a pair per position; empty where layers differ
    double attention_scaling = 1; ///< what queries and keys are multiplied by, too
};

/// The rotary embedding of a model as it is in a run of `seq_len` tokens.
RopeParameters rope_parameters(const ModelConfig& config, std::int64_t seq_len);

/// Throws Error where a tensor that a decoder needs is missing or has another shape, or where there is one that it
/// would leave out. Knows it from the files' headers alone.
void check_tensors(const Checkpoint& checkpoint);

/// `options` with the dtype that a decoder of `config` takes where none is given. Throws UsageError as parse_devices().
DecoderOptions with_dtype(DecoderOptions options, const ModelConfig& config);

struct LlamaLayer;

/// Attention of n fresh tokens: their q [num_heads, n, head_dim], k and v [num_kv_heads, n, head_dim] (q, k after RoPE)
/// -> z [n, num_heads * head_dim]. What else they attend to is its own affair.
using Attend = std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

/// A Llama-style decoder in LibTorch: RMSNorm, RoPE, GQA, SwiGLU, and what ModelConfig lists of the families beside.
/// Attention runs in tiles of query rows and never holds n x N for all rows.
class Decoder
{
public:
    /// Throws UsageError as parse_devices() and devices_of_layers() do, Error for an unknown dtype or weights that do
    /// not fit the config.
    Decoder(const Checkpoint& checkpoint, DecoderOptions options);

    const ModelConfig& config() const { return config_; }
    const DecoderOptions& options() const { return options_; } ///< as resolved: nothing is empty

    /// Runs `ids` at the positions after `cache`, appending to it. Returns fp32 logits [rows, vocab_size]: of every
    /// token, or of the last one only. `observer` may be null. Throws Error as check_length() does.
    at::Tensor forward(std::span<const std::int64_t> ids, KvCache& cache, Observer* observer, bool all_logits) const;

    // The pieces of a forward pass, for callers whose tokens stand at positions and attend to caches of their own. They
    // may be called from several threads.

    /// Where a layer's weights are, and where what it reads must be.
    at::Device device_of(std::int64_t layer) const { return devices_.at(static_cast<std::size_t>(layer)); }
    /// ids [n] -> the residual stream before the first layer, [n, hidden_size].
    at::Tensor embed(const at::Tensor& ids) const;
    /// Rotary embedding of positions [n], on their device; `seq_len` as in inverse_frequencies()
    Rope rope_at(const at::Tensor& positions, std::int64_t seq_len) const;
    /// resid_pre [n, hidden_size] -> resid_post of a layer.
    at::Tensor layer(std::int64_t layer, const at::Tensor& resid_pre, const Rope& rope, const Attend& attend,
        Observer* observer = nullptr) const;
    /// LlamaLayer::mlp_change of a layer.
    at::Tensor mlp_change(std::int64_t layer, const at::Tensor& resid_mid, const at::Tensor& change) const;
    /// The residual stream after the last layer, [n, hidden_size], as lm_head() reads it.
    at::Tensor normalize(const at::Tensor& resid) const;
    /// Rows [first, first + count) of the output matrix [vocab_size, hidden_size] in the decoder's dtype; where weights
    /// are streamed, converted for the call.
    at::Tensor lm_head(std::int64_t first, std::int64_t count) const;
    /// [n, vocab_size] of what normalize() gives.
    at::Tensor logits(const at::Tensor& normalized) const;

    /// [hidden_size, num_heads * head_dim] of a layer, in the decoder's dtype.
    at::Tensor w_o(std::int64_t layer) const;
    /// [hidden_size], its bias; undefined where the model has none.
    at::Tensor b_o(std::int64_t layer) const;

    /// Called after each layer of a forward pass, with (layers done, num_layers); for progress.
    std::function<void(std::int64_t, std::int64_t)> on_layer;

private:
    struct StreamedLayer;

    ModelConfig config_;
    std::vector<at::Device> devices_; // one for each layer
    DecoderOptions options_;

    std::shared_ptr<const LlamaLayer> layer_at(std::int64_t layer) const;

    std::vector<std::shared_ptr<const LlamaLayer>> layers_; // null where weights are streamed
    std::function<std::shared_ptr<const LlamaLayer>(std::int64_t)> load_layer_;
    std::shared_ptr<StreamedLayer> streamed_; // the last one used
    at::Tensor embedding_; // [vocab_size, hidden_size], on the CPU as it lies in the file
    at::Tensor final_norm_;
    at::Tensor lm_head_; // where weights are streamed: as it lies in the file
};

} // namespace lava
