#pragma once

#include "capture/layer_recorder.h"
#include "capture/recorder.h"
#include "capture/repeat_pass.h"
#include "model/decoder.h"
#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <memory>
#include <optional>
#include <vector>

namespace lava {

/// A layer after the prompt has gone through it: what a trace records, and its cache with room for the steps.
struct PassedLayer
{
    LayerView view;
    std::shared_ptr<LayerCache> cache;
};

/// Takes a prompt through the model layer by layer; a reference's steps and the repeat pass go along. Between two
/// layers only the residual streams are held.
class LayerPass
{
public:
    LayerPass(
        const Decoder& decoder, const TraceInfo& info, const Evaluation& evaluation, const RecordOptions& options);

    /// The next layer. Its view has the steps' tensors where the steps are a reference's.
    PassedLayer next();
    std::int64_t layers_done() const { return done_; }

    /// The residual streams [n, hidden_size], in an order of their own: with them and layers_done() the pass can go on
    /// in another process.
    std::vector<at::Tensor> streams() const;
    void restore(std::int64_t layers_done, const std::vector<at::Tensor>& streams);

    /// After the last layer: float32 [1, vocab_size] of the prompt's last token; of the reference's steps, [eval_len,
    /// vocab_size].
    at::Tensor last_logits() const;
    at::Tensor step_logits() const;

private:
    const Decoder& decoder_;
    const TraceInfo& info_;
    RecordOptions options_;
    std::int64_t done_ = 0;
    at::Tensor prompt_; ///< [seq_len, hidden_size]
    Rope prompt_rope_; ///< of the whole prompt, whatever the chunks: some types depend on the length
    at::Tensor steps_; ///< [eval_len, hidden_size]; undefined without a reference
    Rope step_rope_; ///< of the reference's steps
    std::optional<RepeatPass> repeat_;
};

/// Runs one step's token through all layers, whose caches grow by it. recorders[layer] records it. Returns its logits,
/// float32 [1, vocab_size] on the CPU.
at::Tensor run_step(const Decoder& decoder, std::int64_t id, const std::vector<std::shared_ptr<LayerCache>>& caches,
    std::vector<StepRecorder>& recorders, const std::function<void()>& on_layer);

/// Adds the steps' keys and values to a layer's view.
void fill_step_cache(LayerView& view, const LayerCache& cache);

} // namespace lava
