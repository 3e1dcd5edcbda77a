#pragma once

#include "capture/part.h"
#include "capture/prompts.h"
#include "capture/repeat_pass.h"
#include "model/decoder.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace lava {

/// The decode steps after the prompt, on which losses are measured.
struct Evaluation
{
    std::int64_t steps = 16; ///< greedy steps; they do not stop at an end-of-sequence token
    std::vector<std::int64_t> reference; ///< inputs of the steps instead, all in one forward call; empty: greedy

    std::int64_t length() const { return reference.empty() ? steps : std::ssize(reference); }
};

struct RecordOptions
{
    std::int64_t window = 64; ///< query rows to record; all of a shorter prompt
    std::int64_t chunk = 4096; ///< prompt tokens that go through a layer at once
    Part part = {}; ///< what of the model is recorded
    std::optional<RepeatTexts> repeat; ///< of the repeat pass; none: without it
};

struct StoreOptions
{
    std::filesystem::path trace;
    std::filesystem::path weights; ///< W_O's own file; empty: inside the trace
    StoreType store = StoreType::f32;
    int deflate = 0; ///< 0 none .. 9
    bool resume = false; ///< keep finished layers in a folder beside the trace, and go on from those that are there
};

/// Throws Error where prompt, steps and repeat pass exceed the context or an id is not in the vocabulary.
void check_prompt(const ModelConfig& config, const Prompt& prompt, const Evaluation& evaluation,
    const std::optional<RepeatTexts>& repeat);

/// What `info`, which holds what is known of prompt and run, becomes once model and options are known. No weights are
/// read.
TraceInfo complete_info(
    TraceInfo info, const ModelConfig& config, const Evaluation& evaluation, const RecordOptions& options);

/// Opens the files that record_trace() will write and drops them again: a folder that is read only or a weights file of
/// another model is told before the model runs.
void check_outputs(const TraceInfo& info, const StoreOptions& store);

/// Steps of work that record_trace() reports: one for each layer of each pass.
std::int64_t progress_steps(const ModelConfig& config, const Evaluation& evaluation);

/// Runs the prompt and its evaluation steps through the model and writes the trace; `info` as complete_info() gives it.
/// All tokens of the prompt go through a layer, in chunks, before the next layer begins, and a layer is written while
/// the next one runs. Keys and values of all layers are held only where greedy steps will need them; a reference's
/// steps go along with the prompt. `tokenizer` gives the steps' texts and may be null. `on_step` is called
/// progress_steps() times.
void record_trace(const Decoder& decoder, const TraceInfo& info, const Evaluation& evaluation,
    const RecordOptions& options, const StoreOptions& store, const Tokenizer* tokenizer,
    const std::function<void()>& on_step);

} // namespace lava
