#pragma once

#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <memory>

namespace lava {

/// Writes a trace (traces/FORMAT.md) to `file`.part and renames it when finished; destroyed before that, it leaves
/// nothing behind.
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

    /// [eval_len, vocab_size]
    void write_logits(const at::Tensor& logits);

    /// Checks that every layer is there, closes and renames. Throws Error, leaving nothing behind, where that fails.
    void finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace lava
