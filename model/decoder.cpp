#include "model/decoder.h"

#include "base/available_memory.h"
#include "base/error.h"
#include "base/formatted.h"
#include "compute/attention.h"
#include "compute/devices.h"
#include "compute/linear.h"
#include "compute/own_pages.h"
#include "compute/parallel.h"
#include "model/llama_layer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <string>

namespace lava {

namespace {

/// Token ids as a tensor [n], all of them in the vocabulary and within the context.
at::Tensor checked_ids(std::span<const std::int64_t> ids, const KvCache& cache, const ModelConfig& config)
{
    const auto n = static_cast<std::int64_t>(ids.size());
    if (n == 0)
        throw Error("expected at least one token, found none");
    check_length(config, cache.length(), n);
    for (const std::int64_t id : ids)
        if (id < 0 || id >= config.vocab_size)
            throw Error(formatted("token id {}: expected 0 to {}", id, config.vocab_size - 1));
    return at::tensor(at::ArrayRef<std::int64_t>(ids.data(), ids.size()), at::kLong);
}

void append(at::Tensor& cached, const at::Tensor& fresh)
{
    cached = cached.defined() ? at::cat({cached, fresh}, 1) : fresh;
}

/// Causal attention over the cache of a layer, to which the fresh keys and values are appended. `window` as in
/// causal_attention().
Attend attend_to_cache(KvCache& cache, std::int64_t window, const Hook& hook)
{
    auto& cached_k = cache.k[static_cast<std::size_t>(hook.layer)];
    auto& cached_v = cache.v[static_cast<std::size_t>(hook.layer)];
    return [&cached_k, &cached_v, window, hook](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        append(cached_k, k);
        append(cached_v, v);
        const bool sums = hook.wants("observed_attention") || hook.wants("observed_attention_off_diagonal");
        const auto result = causal_attention(q, cached_k, cached_v, sums, window);
        if (sums) {
            hook("observed_attention", result.column_sums);
            hook("observed_attention_off_diagonal", result.column_sums_off_diagonal);
        }
        return result.z;
    };
}

constexpr const char* embedding_name = "model.embed_tokens.weight";
constexpr const char* lm_head_name = "lm_head.weight";

/// Files of tied models may hold the output matrix all the same; were it another one, config.json would lie.
void require_tied(const Checkpoint& checkpoint)
{
    if (!checkpoint.config().tie_word_embeddings || !checkpoint.has(lm_head_name))
        return;
    const std::vector<std::int64_t> shape{checkpoint.config().vocab_size, checkpoint.config().shape.hidden_size};
    if (!at::equal(checkpoint.tensor(embedding_name, shape), checkpoint.tensor(lm_head_name, shape)))
        throw Error(std::string("tensor ") + lm_head_name + ": differs from " + embedding_name
            + ", but config.json says tie_word_embeddings");
}

/// Bytes that the weights of layers on the CPU take in the decoder's dtype, where they do not have it. Throws Error
/// where a tensor is missing or has another shape, or where there is one that the decoder would leave out without a
/// word: a bias, a further layer.
std::int64_t inspect(const Checkpoint& checkpoint, const std::vector<at::Device>& devices, const std::string& dtype)
{
    const ModelConfig& config = checkpoint.config();
    Inspection used;
    for (std::size_t layer = 0; layer < devices.size(); ++layer)
        LlamaLayer(
            WeightLoader(checkpoint, devices[layer], dtype).only_look(used), config, static_cast<std::int64_t>(layer));
    WeightLoader look(checkpoint, devices.back(), dtype);
    look.only_look(used);
    look(embedding_name, {config.vocab_size, config.shape.hidden_size});
    look("model.norm.weight", {config.shape.hidden_size});
    if (!config.tie_word_embeddings)
        look(lm_head_name, {config.vocab_size, config.shape.hidden_size});
    for (const std::string& name : checkpoint.names()) {
        if (used.names.contains(name)
            || name.ends_with("rotary_emb.inv_freq")) // which old files hold, and config.json says
            continue;
        if (name == lm_head_name)
            look(name, {config.vocab_size, config.shape.hidden_size});
        else
            throw Error(formatted(
                "tensor {}: expected only what a {} model of {} layers holds (config.json), found this one too", name,
                config.model_type, config.shape.num_layers));
    }
    return used.converted_bytes;
}

} // namespace

void check_tensors(const Checkpoint& checkpoint)
{
    const auto layers = static_cast<std::size_t>(checkpoint.config().shape.num_layers);
    inspect(checkpoint, std::vector<at::Device>(layers, at::kCPU), "float32");
}

DecoderOptions with_dtype(DecoderOptions options, const ModelConfig& config)
{
    const bool only_cpu
        = std::ranges::all_of(parse_devices(options.device), [](const at::Device& device) { return device.is_cpu(); });
    if (options.dtype.empty())
        options.dtype = only_cpu || config.dtype.empty() ? "float32" : config.dtype;
    return options;
}

struct Decoder::StreamedLayer
{
    std::mutex mutex;
    std::int64_t index = -1;
    std::shared_ptr<const LlamaLayer> layer;
};

Decoder::Decoder(const Checkpoint& checkpoint, DecoderOptions options)
    : config_(checkpoint.config())
    , devices_(devices_of_layers(parse_devices(options.device), config_.shape.num_layers))
    , options_(with_dtype(std::move(options), config_))
    , streamed_(std::make_shared<StreamedLayer>())
{
    const c10::InferenceMode guard;
    const std::int64_t converted = inspect(checkpoint, devices_, options_.dtype);
    require_tied(checkpoint);
    if (!options_.stream_weights)
        options_.stream_weights = converted > available_memory() / 10 * 8;
    load_layer_ = [checkpoint, devices = devices_, options = options_](std::int64_t layer) {
        WeightLoader load(checkpoint, devices[static_cast<std::size_t>(layer)], options.dtype);
        if (*options.stream_weights)
            load.streamed();
        return std::make_shared<const LlamaLayer>(load, checkpoint.config(), layer);
    };
    const std::vector<std::int64_t> matrix{config_.vocab_size, config_.shape.hidden_size};
    checkpoint.require_finite(embedding_name);
    embedding_ = checkpoint.tensor(embedding_name, matrix);
    for (std::int64_t layer = 0; layer < config_.shape.num_layers; ++layer)
        layers_.push_back(*options_.stream_weights && device_of(layer).is_cpu() ? nullptr : load_layer_(layer));
    const WeightLoader load(checkpoint, devices_.back(), options_.dtype);
    final_norm_ = load("model.norm.weight", {config_.shape.hidden_size});
    const std::string head = config_.tie_word_embeddings ? embedding_name : lm_head_name;
    if (*options_.stream_weights && devices_.back().is_cpu() && final_norm_.scalar_type() != at::kHalf) {
        checkpoint.require_finite(head);
        lm_head_ = checkpoint.tensor(head, matrix);
    } else {
        lm_head_ = load(head, matrix); // which looks whether float16 holds it
    }
}

std::shared_ptr<const LlamaLayer> Decoder::layer_at(std::int64_t layer) const
{
    if (const auto& loaded = layers_.at(static_cast<std::size_t>(layer)))
        return loaded;
    const std::lock_guard lock(streamed_->mutex);
    if (streamed_->index != layer) {
        streamed_->index = -1;
        streamed_->layer.reset(); // before the next one takes memory
        streamed_->layer = load_layer_(layer);
        streamed_->index = layer;
    }
    return streamed_->layer;
}

at::Tensor Decoder::forward(
    std::span<const std::int64_t> ids, KvCache& cache, Observer* observer, bool all_logits) const
{
    const c10::InferenceMode guard;
    const OwnThreads threads;
    const auto first = cache.length();
    const auto tokens = checked_ids(ids, cache, config_);
    const auto n = tokens.size(0);
    const auto num_layers = config_.shape.num_layers;
    cache.k.resize(static_cast<std::size_t>(num_layers));
    cache.v.resize(static_cast<std::size_t>(num_layers));

    auto x = embed(tokens);
    auto angles = rope_at(at::arange(first, first + n, tokens.options()), first + n);
    for (std::int64_t layer = 0; layer < num_layers; ++layer) {
        const Hook hook{observer, layer};
        const auto window = config_.layer_window[static_cast<std::size_t>(layer)];
        const auto device = device_of(layer);
        x = x.to(device);
        angles = on_device(angles, device);
        x = layer_at(layer)->forward(x, angles, attend_to_cache(cache, window, hook), hook);
        if (on_layer)
            on_layer(layer + 1, num_layers);
    }
    const auto rows = all_logits ? x : x.narrow(0, n - 1, 1);
    return logits(normalize(rows)).to(at::kFloat);
}

at::Tensor Decoder::embed(const at::Tensor& ids) const
{
    return at::embedding(embedding_, ids.to(embedding_.device())).to(devices_.front(), final_norm_.scalar_type());
}

Rope Decoder::rope_at(const at::Tensor& positions, std::int64_t seq_len) const
{
    return rope(positions, seq_len, config_.rope, final_norm_.scalar_type());
}

at::Tensor Decoder::layer(
    std::int64_t layer, const at::Tensor& resid_pre, const Rope& rope, const Attend& attend, Observer* observer) const
{
    return layer_at(layer)->forward(resid_pre, rope, attend, Hook{observer, layer});
}

at::Tensor Decoder::mlp_change(std::int64_t layer, const at::Tensor& resid_mid, const at::Tensor& change) const
{
    return layer_at(layer)->mlp_change(resid_mid, change);
}

at::Tensor Decoder::normalize(const at::Tensor& resid) const
{
    return rms_norm(resid, final_norm_, config_.rms_norm_eps);
}

at::Tensor Decoder::lm_head(std::int64_t first, std::int64_t count) const
{
    const auto rows = lm_head_.narrow(0, first, count);
    const auto dtype = final_norm_.scalar_type();
    return rows.scalar_type() == dtype ? rows : empty_in_own_pages(rows.sizes(), dtype).copy_(rows);
}

at::Tensor Decoder::logits(const at::Tensor& normalized) const
{
    constexpr std::int64_t panel = 2048; // rows of the matrix: bounds what is converted at once
    std::vector<at::Tensor> parts;
    for (std::int64_t first = 0; first < config_.vocab_size; first += panel)
        parts.push_back(project(normalized, lm_head(first, std::min(panel, config_.vocab_size - first))));
    return at::cat(parts, -1);
}

RopeParameters rope_parameters(const ModelConfig& config, std::int64_t seq_len)
{
    if (std::ranges::find(config.layer_has_rope, false) != config.layer_has_rope.end())
        return {};
    const auto frequencies = inverse_frequencies(config.rope, seq_len).to(at::kDouble);
    const auto* begin = frequencies.const_data_ptr<double>();
    return {
        .inverse_frequencies = {begin, begin + frequencies.numel()}, .attention_scaling = config.rope.attention_factor};
}

at::Tensor Decoder::w_o(std::int64_t layer) const
{
    return layer_at(layer)->w_o;
}

at::Tensor Decoder::b_o(std::int64_t layer) const
{
    return layer_at(layer)->b_o;
}

} // namespace lava
