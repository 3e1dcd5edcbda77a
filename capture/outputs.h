#pragma once

#include "capture/options.h"
#include "capture/session.h"

#include <vector>

namespace lava {

/// Throws UsageError where `jobs` would write over what the run reads, the model's files included, or one over the
/// other.
void refuse_overwriting(const CaptureOptions& options, const std::vector<PreparedJob>& jobs);

/// Throws Error where the folder of many traces cannot be made or written into. Makes it where `make` says so.
void check_folder(const std::filesystem::path& folder, bool make);

/// Throws Error where the trace's folder is missing or not writable, or where there is too little room for `sizes`.
void check_place(const std::filesystem::path& trace, const Forecast& sizes);

} // namespace lava
