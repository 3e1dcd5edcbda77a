#pragma once

#include "capture/recorder.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace lava {

/// How many bytes a capture will write.
struct Forecast
{
    std::int64_t trace = 0; ///< without compression
    std::int64_t weights = 0; ///< 0 where W_O's file is there already, or W_O goes into the trace
    std::int64_t resume = 0; ///< beside the trace while it is being made

    std::int64_t total() const { return trace + weights + resume; }
};

/// `info` as complete_info() gives it; `model` is the whole model's shape. `has_output_bias`: the attention's output
/// projection has one.
Forecast forecast(const TraceInfo& info, const ModelShape& model, const RecordOptions& options,
    const StoreOptions& store, bool has_output_bias);

/// "trace 1.2 GB, weights file 0.3 GB"
std::string to_string(const Forecast& sizes);

/// Throws Error where the trace's file system has less room than `sizes` take.
void check_room(const Forecast& sizes, const std::filesystem::path& trace);

} // namespace lava
