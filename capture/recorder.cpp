#include "capture/recorder.h"

#include "base/error.h"
#include "base/formatted.h"
#include "capture/background.h"
#include "capture/layer_pass.h"
#include "capture/resume_folder.h"
#include "compute/parallel.h"
#include "traces/trace_writer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace lava {

namespace {

std::int64_t most_likely(const at::Tensor& logits)
{
    return logits.argmax(-1).reshape({-1})[-1].item<std::int64_t>();
}

void check_ids(const std::vector<std::int64_t>& ids, std::int64_t vocab_size, const std::string& what)
{
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocab_size) {
            throw Error(formatted("{}: token {}: expected an id below {}, the model's vocabulary, found {}", what, i,
                vocab_size, ids[i]));
        }
    }
}

/// [num_layers] the model's sliding windows; empty where no layer has one.
std::vector<std::int64_t> layer_windows(const ModelConfig& config)
{
    return smallest_window(config) > 0 ? config.layer_window : std::vector<std::int64_t>();
}

/// Most tokens that any chunk of the repeat pass takes.
std::int64_t repeat_length(const std::vector<std::int64_t>& prompt_ids, const RepeatTexts& texts)
{
    std::int64_t most = 0;
    for (const RepeatChunk& chunk : repeat_chunks(prompt_ids, texts)) {
        most = std::max<std::int64_t>(most, std::ssize(chunk.ids));
    }
    return most;
}

/// All that the numbers of a layer depend on.
std::string resume_key(const TraceInfo& info, const Evaluation& evaluation, const RecordOptions& options)
{
    const nlohmann::json key = {{"format", {info.format_major, info.format_minor}}, {"generator", info.generator},
        {"model", info.model_name}, {"weights_sha256", info.weights_sha256}, {"device", info.device},
        {"dtype", info.run_dtype}, {"window", info.window}, {"chunk", options.chunk},
        {"repeat_pass", options.repeat.has_value()}, {"eval_len", info.eval_len}, {"reference", evaluation.reference},
        {"prompt_ids", info.prompt_ids}};
    return key.dump(2) + "\n";
}

TraceWriter::Options writer_options(const StoreOptions& store)
{
    return {.store = store.store, .weights_file = store.weights, .deflate = store.deflate};
}

/// One trace on its way from the model to the disk.
class TraceRecording
{
public:
    TraceRecording(const Decoder& decoder, const TraceInfo& info, const Evaluation& evaluation,
        const RecordOptions& options, const StoreOptions& store, const std::function<void()>& on_step)
        : decoder_(decoder)
        , recorded_(info)
        , info_(whole(info, decoder))
        , evaluation_(evaluation)
        , on_step_(on_step)
        , writer_(store.trace, info, writer_options(store))
        , pass_(decoder, info_, evaluation, options)
        , writing_(1)
    {
        if (store.resume) {
            resume_.emplace(store.trace.string() + ".resume", info_, resume_key(info, evaluation, options));
        }
    }

    void run_prompt()
    {
        restore();
        while (pass_.layers_done() < info_.shape.num_layers) {
            PassedLayer layer = pass_.next();
            writing_.push([this, view = layer.view, streams = resume_ ? cloned(pass_.streams()) : Tensors()] {
                if (resume_) {
                    resume_->save(view, streams);
                }
                write(view);
            });
            keep(std::move(layer));
            on_step_();
        }
        next_id_ = most_likely(pass_.last_logits());
    }

    void run_steps(const Tokenizer* tokenizer)
    {
        if (info_.eval_len == 0) {
            return;
        }
        std::vector<std::int64_t> ids = evaluation_.reference;
        const at::Tensor logits = is_greedy() ? run_greedily(ids) : pass_.step_logits();
        writing_.push([this, logits] { writer_.write_logits(logits); });
        writing_.finish();
        writer_.set_evaluation_tokens(ids, tokenizer ? token_texts(*tokenizer, ids) : std::vector<std::string>());
    }

    void finish()
    {
        writing_.finish();
        writer_.set_next_id(next_id_);
        writer_.finish();
        if (resume_) {
            resume_->remove();
        }
    }

private:
    using Tensors = std::vector<at::Tensor>;

    static Tensors cloned(const Tensors& tensors)
    {
        Tensors copies;
        for (const at::Tensor& tensor : tensors) { // the pass writes into its own while these are being saved
            copies.push_back(tensor.clone());
        }
        return copies;
    }

    static TraceInfo whole(TraceInfo info, const Decoder& decoder)
    {
        info.shape = decoder.config().shape;
        info.layer_windows = layer_windows(decoder.config());
        return info;
    }

    bool is_greedy() const { return evaluation_.reference.empty(); }

    /// Takes over what an earlier process has finished.
    void restore()
    {
        if (!resume_ || resume_->layers_done() == 0) {
            return;
        }
        const Tensors streams = resume_->streams();
        for (std::int64_t layer = 0; layer < resume_->layers_done(); ++layer) {
            const auto options = pass_.streams().front().options().device(decoder_.device_of(layer));
            PassedLayer passed = resume_->load(layer, at::empty({0}, options));
            passed.view.w_o = decoder_.w_o(layer);
            passed.view.b_o = decoder_.b_o(layer);
            writing_.push([this, view = passed.view] { write(view); });
            keep(std::move(passed));
            on_step_();
        }
        pass_.restore(resume_->layers_done(), streams);
    }

    void write(const LayerView& view)
    {
        const auto layer = recorded_layer(recorded_, view.layer);
        if (!layer) {
            return;
        }
        const LayerView part = part_view(view, recorded_, *layer);
        if (is_greedy() && info_.eval_len > 0) {
            writer_.write_prompt(part);
        } else {
            writer_.write_layer(part);
        }
    }

    /// Greedy steps need every layer's cache.
    void keep(PassedLayer layer)
    {
        if (is_greedy() && info_.eval_len > 0) {
            caches_.push_back(std::move(layer.cache));
        }
    }

    /// Fills in the steps' ids, writes what was recorded of them and returns their logits [eval_len, vocab_size].
    at::Tensor run_greedily(std::vector<std::int64_t>& ids)
    {
        std::vector<StepRecorder> recorders(caches_.size());
        Tensors logits;
        for (std::int64_t next = next_id_; std::ssize(ids) < info_.eval_len;) {
            ids.push_back(next);
            logits.push_back(run_step(decoder_, next, caches_, recorders, on_step_));
            next = most_likely(logits.back());
        }
        for (std::size_t layer = 0; layer < caches_.size(); ++layer) {
            LayerView view;
            view.layer = static_cast<std::int64_t>(layer);
            view.seq_len = info_.seq_len;
            recorders[layer].fill(view);
            fill_step_cache(view, *caches_[layer]);
            if (const auto recorded = recorded_layer(recorded_, view.layer)) {
                writing_.push([this, view = part_view(view, recorded_, *recorded)] { writer_.write_evaluation(view); });
            }
        }
        return at::cat(logits, 0);
    }

    const Decoder& decoder_;
    const TraceInfo& recorded_; ///< what the trace holds
    const TraceInfo info_; ///< of the whole model, all of which the prompt goes through
    const Evaluation& evaluation_;
    const std::function<void()>& on_step_;
    TraceWriter writer_;
    LayerPass pass_;
    std::optional<ResumeFolder> resume_;
    std::vector<std::shared_ptr<LayerCache>> caches_;
    std::int64_t next_id_ = -1; ///< what the prompt leads to
    Background writing_; ///< last: its jobs use the others
};

} // namespace

void check_prompt(const ModelConfig& config, const Prompt& prompt, const Evaluation& evaluation,
    const std::optional<RepeatTexts>& repeat)
{
    if (prompt.ids.empty()) {
        throw Error("the prompt is empty");
    }
    check_ids(prompt.ids, config.vocab_size, "prompt");
    check_ids(evaluation.reference, config.vocab_size, "--reference");
    const std::int64_t seq_len = std::ssize(prompt.ids), eval_len = evaluation.length();
    if (eval_len > config.context_length - seq_len) {
        throw Error(formatted("the prompt's {} tokens and {} evaluation steps exceed the model's context of {}",
            seq_len, eval_len, config.context_length));
    }
    check_length(config, seq_len, eval_len);
    const std::int64_t repeated = repeat ? repeat_length(prompt.ids, *repeat) : 0;
    const std::int64_t window = smallest_window(config), context = config.context_length;
    const std::int64_t most = window > 0 ? std::min(window, context) : context;
    if (repeat && repeated > most - seq_len) {
        throw Error(
            formatted("--repeat-pass: the prompt's {} tokens and {} of a repetition exceed the model's {} of {}",
                seq_len, repeated, most < context ? "sliding window" : "context", most));
    }
}

TraceInfo complete_info(
    TraceInfo info, const ModelConfig& config, const Evaluation& evaluation, const RecordOptions& options)
{
    info.shape = config.shape;
    info.vocab_size = config.vocab_size;
    info.seq_len = std::ssize(info.prompt_ids);
    info.eval_len = evaluation.length();
    info.window = std::min(options.window, info.seq_len);
    if (info.eval_len > 0) {
        info.continuation = evaluation.reference.empty() ? "greedy" : "reference";
    }
    const RopeParameters rope = rope_parameters(config, info.seq_len);
    info.rope_inv_freq = rope.inverse_frequencies;
    info.rope_attention_scaling = rope.attention_scaling;
    info.layer_windows = layer_windows(config);
    return part_info(std::move(info), options.part);
}

void check_outputs(const TraceInfo& info, const StoreOptions& store)
{
    const TraceWriter dropped(store.trace, info, writer_options(store));
}

std::int64_t progress_steps(const ModelConfig& config, const Evaluation& evaluation)
{
    return config.shape.num_layers * (evaluation.reference.empty() ? 1 + evaluation.steps : 1);
}

void record_trace(const Decoder& decoder, const TraceInfo& info, const Evaluation& evaluation,
    const RecordOptions& options, const StoreOptions& store, const Tokenizer* tokenizer,
    const std::function<void()>& on_step)
{
    const c10::InferenceMode no_gradients;
    const OwnThreads threads;
    TraceRecording recording(decoder, info, evaluation, options, store, on_step);
    recording.run_prompt();
    recording.run_steps(tokenizer);
    recording.finish();
}

} // namespace lava
