#pragma once

#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Bytes that the layers of a trace of `info`'s sizes and store type `store` take, without compression: of each dataset
/// that `contents` names.
std::int64_t bytes_of_layers(const TraceInfo& info, StoreType store, const std::set<std::string_view>& contents);

/// Writes a trace (traces/FORMAT.md) by way of an OutputFile; destroyed unfinished, it leaves nothing behind.
class TraceWriter
{
public:
    struct Options
    {
        StoreType store = StoreType::f32;
        /// W_O goes into this file, once per model, and is linked from the trace; empty: inside the trace.
        /// An existing file of the same weights (weights_sha256 and shape) is used as it is.
        std::filesystem::path weights_file;
        int deflate = 0; ///< 0 none .. 9
    };

    TraceWriter(std::filesystem::path file, const TraceInfo& info, Options options);
    ~TraceWriter();
    TraceWriter(const TraceWriter&) = delete;
    TraceWriter& operator=(const TraceWriter&) = delete;

    /// Layers may come in any order, each once. Undefined tensors are left out, all layers alike; shapes are checked
    /// against info. Tensors may be on any device and of any floating type. `view.w_o` and `view.b_o` go where
    /// Options::weights_file says.
    void write_layer(const LayerView& view);

    /// Writes a layer in two parts, for a run whose evaluation steps come after the prompt has gone through all layers:
    /// what is recorded of the prompt, and what of the steps.
    void write_prompt(const LayerView& view);
    void write_evaluation(const LayerView& view);

    /// The steps' tokens, where `info` could not hold them yet; before finish().
    void set_evaluation_tokens(std::vector<std::int64_t> ids, std::vector<std::string> texts);

    /// The most likely token after the prompt, likewise.
    void set_next_id(std::int64_t id);

    /// [eval_len, vocab_size]
    void write_logits(const at::Tensor& logits);

    /// Checks that every layer is there, closes and renames. Throws Error, leaving nothing behind, where that fails.
    void finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace lava
