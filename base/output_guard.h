#pragma once

#include <filesystem>
#include <span>
#include <vector>

namespace lava {

// What a run reads must not be what it writes. Programs ask before any work.

/// Throws UsageError where one of `outputs` is one of the files that are read, or where an output before it goes: by
/// its path, links followed, or by its inode. Empty paths and devices are passed over.
void refuse_same_files(std::span<const std::filesystem::path> outputs, std::span<const std::filesystem::path> inputs);

/// The files of a Hugging Face folder that make the model: configuration, tokenizer, weights.
std::vector<std::filesystem::path> files_of_model(const std::filesystem::path& folder);

/// A trace and the files that its datasets are linked from. The trace alone where it cannot be read, which is told
/// elsewhere.
std::vector<std::filesystem::path> files_of_trace(const std::filesystem::path& trace);

} // namespace lava
