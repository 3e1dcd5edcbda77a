#include "model/decoder.h"

#include "model/linear.h"
#include "model/llama_layer.h"
#include "traces/error.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

namespace lava {

namespace {

DecoderOptions resolve(DecoderOptions options, const ModelConfig& config)
{
    if (options.dtype.empty())
        options.dtype = options.device == "cpu" || config.dtype.empty() ? "float32" : config.dtype;
    return options;
}

/// Token ids as a tensor [n], all of them in the vocabulary and within the context.
at::Tensor checked_ids(std::span<const std::int64_t> ids, const KvCache& cache, const ModelConfig& config)
{
    const auto n = static_cast<std::int64_t>(ids.size());
    if (n == 0)
        throw Error("expected at least one token, found none");
    if (cache.length() + n > config.max_position_embeddings)
        throw Error("expected at most " + std::to_string(config.max_position_embeddings)
            + " tokens, the model's context (max_position_embeddings), found " + std::to_string(cache.length() + n));
    for (const std::int64_t id : ids)
        if (id < 0 || id >= config.vocab_size)
            throw Error("token id " + std::to_string(id) + ": expected 0 to " + std::to_string(config.vocab_size - 1));
    return at::tensor(at::ArrayRef<std::int64_t>(ids.data(), ids.size()), at::kLong);
}

} // namespace

Decoder::Decoder(const Checkpoint& checkpoint, DecoderOptions options)
    : config_(checkpoint.config())
    , options_(resolve(std::move(options), config_))
{
    const c10::InferenceMode guard;
    const WeightLoader load(checkpoint, options_);
    const auto hidden = config_.shape.hidden_size;
    embedding_ = load("model.embed_tokens.weight", {config_.vocab_size, hidden});
    for (std::int64_t layer = 0; layer < config_.shape.num_layers; ++layer)
        layers_.push_back(std::make_shared<const LlamaLayer>(load, config_, layer));
    const auto surplus = "model.layers." + std::to_string(config_.shape.num_layers) + ".input_layernorm.weight";
    if (checkpoint.has(surplus))
        throw Error("the checkpoint holds " + surplus + ": expected " + std::to_string(config_.shape.num_layers)
            + " layers (config.json: num_hidden_layers), found more");
    final_norm_ = load("model.norm.weight", {hidden});
    lm_head_ = config_.tie_word_embeddings ? embedding_ : load("lm_head.weight", {config_.vocab_size, hidden});
}

at::Tensor Decoder::forward(
    std::span<const std::int64_t> ids, KvCache& cache, Observer* observer, bool all_logits) const
{
    const c10::InferenceMode guard;
    const auto first = cache.length();
    const auto tokens = checked_ids(ids, cache, config_).to(embedding_.device());
    const auto n = tokens.size(0);
    cache.k.resize(layers_.size());
    cache.v.resize(layers_.size());

    auto x = at::embedding(embedding_, tokens); // the residual stream [n, hidden_size]
    const auto angles = rope(first, n, config_.shape.head_dim, config_.rope_theta, x);
    const auto num_layers = config_.shape.num_layers;
    for (std::int64_t layer = 0; layer < num_layers; ++layer) {
        const auto i = static_cast<std::size_t>(layer);
        x = layers_[i]->forward(x, angles, cache.k[i], cache.v[i], Hook{observer, layer});
        if (on_layer)
            on_layer(layer + 1, num_layers);
    }
    const auto rows = all_logits ? x : x.narrow(0, n - 1, 1);
    return project(rms_norm(rows, final_norm_, config_.rms_norm_eps), lm_head_).to(at::kFloat);
}

at::Tensor Decoder::w_o(std::int64_t layer) const
{
    return layers_.at(static_cast<std::size_t>(layer))->w_o;
}

} // namespace lava
