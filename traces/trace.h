#pragma once

#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <memory>

namespace lava {

/// A layer's number and sizes, its tensors yet to come.
LayerView sized_view(const TraceInfo& info, std::int64_t layer);

/// A recorded run (traces/FORMAT.md). Opening checks version, types and every shape; layers load one at a time.
class Trace
{
public:
    /// Throws Error naming file, dataset, expected and found.
    explicit Trace(const std::filesystem::path& file);
    ~Trace();
    Trace(Trace&&) noexcept;
    Trace& operator=(Trace&&) noexcept;

    const TraceInfo& info() const { return info_; }

    /// All that is recorded of the layer, as fp32. Throws Error where a value is NaN or infinite.
    /// May be called from any thread.
    LayerView layer(std::int64_t layer) const;

    /// [eval_len, vocab_size] fp32: logits of the evaluation steps; logits j predict the token after input j.
    at::Tensor logits() const;

private:
    struct File;
    std::unique_ptr<File> file_;
    TraceInfo info_;
};

} // namespace lava
