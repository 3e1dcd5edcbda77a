#include "capture/recorder.h"

#include "traces/error.h"
#include "traces/trace_writer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>

namespace lava {

namespace {

/// Where the pieces of the evaluation steps go, and along which dimension their tokens lie.
struct StepTensor
{
    std::string_view name;
    at::Tensor LayerRecord::*member;
    std::int64_t token_dim;
};

constexpr std::array<StepTensor, 5> step_tensors{{
    {"q", &LayerRecord::q_eval, 1},
    {"resid_pre", &LayerRecord::resid_pre, 0},
    {"attn_out", &LayerRecord::attn_out, 0},
    {"resid_mid", &LayerRecord::resid_mid, 0},
    {"mlp_out", &LayerRecord::mlp_out, 0},
}};

bool is_step_tensor(std::string_view name)
{
    return std::any_of(
        step_tensors.begin(), step_tensors.end(), [name](const StepTensor& tensor) { return tensor.name == name; });
}

std::int64_t most_likely(const at::Tensor& logits)
{
    return logits.argmax(-1).reshape({-1})[-1].item<std::int64_t>();
}

void check_ids(const std::vector<std::int64_t>& ids, std::int64_t vocab_size, const std::string& what)
{
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocab_size) {
            throw Error(what + ": token " + std::to_string(i) + ": expected an id below " + std::to_string(vocab_size)
                + ", the model's vocabulary, found " + std::to_string(ids[i]));
        }
    }
}

/// A trace says nothing of sliding windows, so replay would let a query see what it does not.
void check_window(const ModelConfig& config, std::int64_t tokens)
{
    const std::int64_t window = smallest_window(config);
    if (window > 0 && tokens > window) {
        throw Error("the prompt and the evaluation steps are " + std::to_string(tokens)
            + " tokens, but the model's sliding window lets a query see only the last " + std::to_string(window)
            + " (config.json: sliding_window): entries that have left it cannot be evicted any more; expected at most "
            + std::to_string(window) + " tokens");
    }
}

/// Feeds the greedy continuation token by token; returns the logits of each step.
std::vector<at::Tensor> continue_greedily(
    const Decoder& decoder, std::int64_t first, std::int64_t steps, Recording& recording, Recorder& recorder)
{
    std::vector<at::Tensor> logits;
    for (std::int64_t next = first; std::ssize(recording.eval_ids) < steps;) {
        recording.eval_ids.push_back(next);
        logits.push_back(decoder.forward({&recording.eval_ids.back(), 1}, recording.cache, &recorder, false).cpu());
        next = most_likely(logits.back());
    }
    return logits;
}

LayerView view_of(const Decoder& decoder, const Recording& recording, std::int64_t layer)
{
    const auto index = static_cast<std::size_t>(layer);
    const LayerRecord& record = recording.layers[index];
    const at::Tensor &k = recording.cache.k[index], &v = recording.cache.v[index];
    LayerView view;
    view.layer = layer;
    view.shape = decoder.config().shape;
    view.seq_len = recording.seq_len;
    view.window = recording.window;
    view.eval_len = std::ssize(recording.eval_ids);
    view.k = k.narrow(1, 0, view.seq_len);
    view.v = v.narrow(1, 0, view.seq_len);
    view.q_window = record.q_window;
    view.observed_attention = record.observed_attention;
    view.observed_attention_off_diagonal = record.observed_attention_off_diagonal;
    view.q_pre_rope_mean = record.queries.mean;
    view.q_pre_rope_cov = record.queries.covariance;
    view.w_o = decoder.w_o(layer);
    view.b_o = decoder.b_o(layer);
    if (view.eval_len > 0) {
        view.q_eval = record.q_eval;
        view.k_eval = k.narrow(1, view.seq_len, view.eval_len);
        view.v_eval = v.narrow(1, view.seq_len, view.eval_len);
        view.resid_pre = record.resid_pre;
        view.attn_out = record.attn_out;
        view.resid_mid = record.resid_mid;
        view.mlp_out = record.mlp_out;
    }
    return view;
}

TraceWriter::Options writer_options(const StoreOptions& options)
{
    return {.store = options.store, .weights_file = options.weights, .deflate = 0};
}

} // namespace

Recorder::Recorder(std::int64_t num_layers, std::int64_t window)
    : window_(window)
    , layers_(static_cast<std::size_t>(num_layers))
    , statistics_(static_cast<std::size_t>(num_layers))
    , pieces_(static_cast<std::size_t>(num_layers))
{ }

bool Recorder::wants(std::string_view name) const
{
    if (evaluating_) {
        return is_step_tensor(name);
    }
    return name == "q" || name == "q_pre_rope" || name == "observed_attention"
        || name == "observed_attention_off_diagonal";
}

void Recorder::on(std::string_view name, std::int64_t layer, const at::Tensor& value)
{
    if (!wants(name)) {
        return;
    }
    const auto index = static_cast<std::size_t>(layer);
    LayerRecord& record = layers_[index];
    // clones: the decoder may reuse its tensors
    if (evaluating_) {
        pieces_[index][std::string(name)].push_back(value.clone());
    } else if (name == "q_pre_rope") {
        statistics_[index].add(value);
    } else if (name == "q") {
        record.q_window = value.narrow(1, value.size(1) - window_, window_).clone();
    } else if (name == "observed_attention") {
        record.observed_attention = value.cpu().clone();
    } else {
        record.observed_attention_off_diagonal = value.cpu().clone();
    }
}

std::vector<LayerRecord> Recorder::take_layers()
{
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
        for (const StepTensor& tensor : step_tensors) {
            const auto pieces = pieces_[layer].find(tensor.name);
            if (pieces != pieces_[layer].end()) {
                layers_[layer].*tensor.member = at::cat(pieces->second, tensor.token_dim);
            }
        }
        pieces_[layer].clear();
        layers_[layer].queries = statistics_[layer].result();
    }
    return std::move(layers_);
}

void check_prompt(const ModelConfig& config, const Prompt& prompt, const Evaluation& evaluation)
{
    if (prompt.ids.empty()) {
        throw Error("the prompt is empty");
    }
    check_ids(prompt.ids, config.vocab_size, "prompt");
    check_ids(evaluation.reference, config.vocab_size, "--reference");
    const std::int64_t seq_len = std::ssize(prompt.ids);
    const std::int64_t eval_len = evaluation.reference.empty() ? evaluation.steps : std::ssize(evaluation.reference);
    if (eval_len > config.context_length - seq_len) {
        throw Error("the prompt's " + std::to_string(seq_len) + " tokens and " + std::to_string(eval_len)
            + " evaluation steps exceed the model's context of " + std::to_string(config.context_length));
    }
    check_length(config, seq_len, eval_len);
    check_window(config, seq_len + eval_len);
}

Recording record(const Decoder& decoder, const std::vector<std::int64_t>& prompt_ids, const Evaluation& evaluation,
    std::int64_t window)
{
    const c10::InferenceMode no_gradients;
    Recording recording;
    recording.seq_len = std::ssize(prompt_ids);
    recording.window = std::min(window, recording.seq_len);
    Recorder recorder(decoder.config().shape.num_layers, recording.window);
    const at::Tensor last = decoder.forward(prompt_ids, recording.cache, &recorder, false);
    recorder.begin_evaluation();
    if (!evaluation.reference.empty()) {
        recording.eval_ids = evaluation.reference;
        recording.logits = decoder.forward(evaluation.reference, recording.cache, &recorder, true).cpu();
    } else if (evaluation.steps > 0) {
        recording.logits
            = at::cat(continue_greedily(decoder, most_likely(last), evaluation.steps, recording, recorder), 0);
    }
    recording.layers = recorder.take_layers();
    return recording;
}

void check_outputs(const ModelConfig& config, TraceInfo info, const StoreOptions& options)
{
    info.shape = config.shape;
    info.vocab_size = config.vocab_size;
    info.seq_len = std::ssize(info.prompt_ids);
    info.window = 1;
    const TraceWriter dropped(options.trace, info, writer_options(options));
}

void write_recording(const Decoder& decoder, const Recording& recording, TraceInfo info, const StoreOptions& options,
    const std::function<void()>& on_layer)
{
    const c10::InferenceMode no_gradients;
    info.shape = decoder.config().shape;
    info.vocab_size = decoder.config().vocab_size;
    info.seq_len = recording.seq_len;
    info.eval_len = std::ssize(recording.eval_ids);
    info.window = recording.window;
    info.eval_ids = recording.eval_ids;
    const RopeParameters rope = decoder.rope_parameters(info.seq_len);
    info.rope_inv_freq = rope.inverse_frequencies;
    info.rope_attention_scaling = rope.attention_scaling;
    TraceWriter writer(options.trace, info, writer_options(options));
    for (std::int64_t layer = 0; layer < info.shape.num_layers; ++layer) {
        writer.write_layer(view_of(decoder, recording, layer));
        on_layer();
    }
    if (recording.logits.defined()) {
        writer.write_logits(recording.logits);
    }
    writer.finish();
}

} // namespace lava
