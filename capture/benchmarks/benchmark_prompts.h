#pragma once

#include "capture/benchmarks/sample.h"

#include <cstdint>
#include <filesystem>
#include <optional>

namespace lava {

struct BenchmarkCommand
{
    SampleRequest request;
    std::filesystem::path model;
    std::filesystem::path output; ///< empty: nothing is written
    std::optional<std::int64_t> max_length;
    std::optional<std::int64_t> samples; ///< the first ones of each task; nothing: all
    bool skip_longer = false; ///< a prompt that does not fit is left out with a note, not refused
    bool print = false; ///< the texts, as the model reads them, on stdout
};

/// Writes a line for `lava-capture --prompts` for each sample: ids, spans and what it is scored by. The file appears
/// whole or not at all.
void make_benchmark_prompts(const BenchmarkCommand& command);

} // namespace lava
