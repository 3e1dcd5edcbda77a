#pragma once

#include "capture/prompts.h"
#include "capture/query_statistics.h"
#include "model/decoder.h"
#include "traces/trace_info.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// The decode steps after the prompt, on which losses are measured.
struct Evaluation
{
    std::int64_t steps = 16; ///< greedy steps; they do not stop at an end-of-sequence token
    std::vector<std::int64_t> reference; ///< inputs of the steps instead, all in one forward call; empty: greedy
};

/// What a trace needs of one layer, beyond the cache. On the decoder's device, in its dtype (column sums fp32).
struct LayerRecord
{
    at::Tensor q_window; ///< [num_heads, window, head_dim]
    at::Tensor observed_attention, observed_attention_off_diagonal; ///< [num_heads, seq_len], on the CPU
    MeanAndCovariance queries; ///< before RoPE, on the CPU
    at::Tensor q_eval; ///< [num_heads, eval_len, head_dim]
    at::Tensor resid_pre, attn_out, resid_mid, mlp_out; ///< [eval_len, hidden_size]
};

/// A prompt read and continued.
struct Recording
{
    std::int64_t seq_len = 0;
    std::int64_t window = 0; ///< query rows recorded: as asked, or the whole of a shorter prompt
    KvCache cache; ///< prompt and evaluation steps
    std::vector<LayerRecord> layers;
    std::vector<std::int64_t> eval_ids; ///< [eval_len], inputs of the evaluation steps
    at::Tensor logits; ///< [eval_len, vocab_size]; undefined without evaluation steps
};

/// Keeps what traces/FORMAT.md lists of the forward calls it observes: of the prompt's the last `window` queries, the
/// column sums and the queries' statistics, of the later ones all queries and the residual stream.
class Recorder : public Observer
{
public:
    Recorder(std::int64_t num_layers, std::int64_t window);

    void on(std::string_view name, std::int64_t layer, const at::Tensor& value) override;
    bool wants(std::string_view name) const override;
    void begin_evaluation() { evaluating_ = true; }
    /// The evaluation steps' pieces joined. Call once, at the end.
    std::vector<LayerRecord> take_layers();

private:
    std::int64_t window_;
    bool evaluating_ = false;
    std::vector<LayerRecord> layers_;
    std::vector<QueryStatistics> statistics_; ///< per layer
    std::vector<std::map<std::string, std::vector<at::Tensor>, std::less<>>> pieces_; ///< per layer, of each step
};

/// Throws Error where prompt and steps exceed the context or an id is not in the vocabulary.
void check_prompt(const ModelConfig& config, const Prompt& prompt, const Evaluation& evaluation);

/// Reads the prompt in one forward call and takes the evaluation steps: the greedy ones singly, a reference's at once.
Recording record(const Decoder& decoder, const std::vector<std::int64_t>& prompt_ids, const Evaluation& evaluation,
    std::int64_t window);

struct StoreOptions
{
    std::filesystem::path trace;
    std::filesystem::path weights; ///< W_O's own file; empty: inside the trace
    StoreType store = StoreType::f32;
};

/// Opens the files that write_recording() will write and drops them again: a folder that is read only or a weights file
/// of another model is told before the model runs. `info` needs the prompt and the weights' hash.
void check_outputs(const ModelConfig& config, TraceInfo info, const StoreOptions& options);

/// Writes the trace. `info` holds what is known of the run; sizes and evaluation steps are filled in from the
/// recording. `on_layer` is called after each layer.
void write_recording(const Decoder& decoder, const Recording& recording, TraceInfo info, const StoreOptions& options,
    const std::function<void()>& on_layer);

} // namespace lava
