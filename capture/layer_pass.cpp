#include "capture/layer_pass.h"

#include "compute/attention.h"
#include "compute/linear.h"
#include "traces/trace.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

at::Tensor embed(const Decoder& decoder, const std::vector<std::int64_t>& ids)
{
    return decoder.embed(at::tensor(ids, at::kLong));
}

/// Rotary embedding of the `n` positions from `first` on, the last ones of the sequence, on the device of `stream`.
Rope rope_of(const Decoder& decoder, std::int64_t first, std::int64_t n, const at::Tensor& stream)
{
    return decoder.rope_at(at::arange(first, first + n, stream.options().dtype(at::kLong)), first + n);
}

at::Tensor logits_of(const Decoder& decoder, const at::Tensor& stream)
{
    const auto last = decoder.config().shape.num_layers - 1;
    const auto moved = stream.to(decoder.device_of(last)); // a restored stream has not gone through the layers
    return decoder.logits(decoder.normalize(moved)).to(at::kCPU, at::kFloat);
}

/// Appends to the cache and attends to what the layer's window leaves of it.
AttentionResult attend(const Decoder& decoder, std::int64_t layer, LayerCache& cache, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, bool column_sums)
{
    const auto window = decoder.config().layer_window[static_cast<std::size_t>(layer)];
    cache.append(k, v);
    return causal_attention(q, cache.k(0, cache.length()), cache.v(0, cache.length()), column_sums, window);
}

/// The tokens of `stream` after those in the cache, recorded as evaluation steps.
at::Tensor step_layer(const Decoder& decoder, std::int64_t layer, const Rope& rope, const at::Tensor& stream,
    LayerCache& cache, StepRecorder& recorder)
{
    const auto device = decoder.device_of(layer);
    return decoder.layer(
        layer, stream.to(device), on_device(rope, device),
        [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            return attend(decoder, layer, cache, q, k, v, false).z;
        },
        &recorder);
}

/// Takes the prompt through a layer in chunks, each of which replaces its rows of `stream`.
void prompt_layer(const Decoder& decoder, std::int64_t layer, std::int64_t chunk, const Rope& rope, at::Tensor& stream,
    LayerCache& cache, PromptRecorder& recorder)
{
    const std::int64_t seq_len = stream.size(0);
    for (std::int64_t first = 0; first < seq_len; first += chunk) {
        const auto n = std::min(chunk, seq_len - first);
        const Rope angles{rope.cos.narrow(0, first, n), rope.sin.narrow(0, first, n)};
        const auto rows = stream.narrow(0, first, n);
        const auto out = decoder.layer(
            layer, rows, angles,
            [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                const AttentionResult result = attend(decoder, layer, cache, q, k, v, true);
                recorder.add_sums(result.column_sums, result.column_sums_off_diagonal);
                return result.z;
            },
            &recorder);
        if (n == seq_len) {
            stream = out;
        } else {
            rows.copy_(out);
        }
    }
}

} // namespace

LayerPass::LayerPass(
    const Decoder& decoder, const TraceInfo& info, const Evaluation& evaluation, const RecordOptions& options)
    : decoder_(decoder)
    , info_(info)
    , options_(options)
    , prompt_(embed(decoder, info.prompt_ids))
    , prompt_rope_(rope_of(decoder, 0, info.seq_len, prompt_))
{
    if (!evaluation.reference.empty()) {
        steps_ = embed(decoder, evaluation.reference);
        step_rope_ = rope_of(decoder, info.seq_len, steps_.size(0), steps_);
    }
    if (options_.repeat) {
        repeat_.emplace(decoder, repeat_chunks(info.prompt_ids, *options_.repeat), info.seq_len);
    }
}

PassedLayer LayerPass::next()
{
    const std::int64_t layer = done_++;
    const auto device = decoder_.device_of(layer);
    prompt_ = prompt_.to(device);
    prompt_rope_ = on_device(prompt_rope_, device);
    PassedLayer passed;
    passed.cache = std::make_shared<LayerCache>(info_.shape, info_.seq_len + info_.eval_len, prompt_);
    PromptRecorder recorder(info_.seq_len, info_.window);
    prompt_layer(decoder_, layer, options_.chunk, prompt_rope_, prompt_, *passed.cache, recorder);

    LayerView& view = passed.view;
    view = sized_view(info_, layer);
    view.k = passed.cache->k(0, info_.seq_len);
    view.v = passed.cache->v(0, info_.seq_len);
    view.w_o = decoder_.w_o(layer);
    view.b_o = decoder_.b_o(layer);
    recorder.fill(view);
    if (repeat_) {
        const RepeatMaxima maxima = repeat_->layer(layer, view.k, view.v);
        view.repeat_maxima = maxima.plain;
        view.repeat_maxima_plus = maxima.plus;
    }
    if (steps_.defined()) {
        StepRecorder steps;
        steps_ = step_layer(decoder_, layer, step_rope_, steps_, *passed.cache, steps);
        steps.fill(view);
        fill_step_cache(view, *passed.cache);
    }
    return passed;
}

std::vector<at::Tensor> LayerPass::streams() const
{
    std::vector<at::Tensor> streams{prompt_};
    if (steps_.defined()) {
        streams.push_back(steps_);
    }
    if (repeat_) {
        streams.insert(streams.end(), repeat_->streams().begin(), repeat_->streams().end());
    }
    return streams;
}

void LayerPass::restore(std::int64_t layers_done, const std::vector<at::Tensor>& streams)
{
    done_ = layers_done;
    auto next = streams.begin();
    const auto take = [&](at::Tensor& stream) { stream = (next++)->to(stream.options()); };
    take(prompt_);
    if (steps_.defined()) {
        take(steps_);
    }
    if (repeat_) {
        std::for_each(repeat_->streams().begin(), repeat_->streams().end(), take);
    }
}

at::Tensor LayerPass::last_logits() const
{
    return logits_of(decoder_, prompt_.narrow(0, info_.seq_len - 1, 1));
}

at::Tensor LayerPass::step_logits() const
{
    return logits_of(decoder_, steps_);
}

at::Tensor run_step(const Decoder& decoder, std::int64_t id, const std::vector<std::shared_ptr<LayerCache>>& caches,
    std::vector<StepRecorder>& recorders, const std::function<void()>& on_layer)
{
    auto stream = embed(decoder, {id});
    const auto rope = rope_of(decoder, caches.front()->length(), 1, stream);
    for (std::size_t layer = 0; layer < caches.size(); ++layer) {
        stream = step_layer(decoder, static_cast<std::int64_t>(layer), rope, stream, *caches[layer], recorders[layer]);
        on_layer();
    }
    return logits_of(decoder, stream);
}

void fill_step_cache(LayerView& view, const LayerCache& cache)
{
    view.k_eval = cache.k(view.seq_len, cache.length());
    view.v_eval = cache.v(view.seq_len, cache.length());
}

} // namespace lava
