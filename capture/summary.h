#pragma once

#include "traces/trace_info.h"

#include <filesystem>
#include <string>

namespace lava {

/// What lava-capture prints when it is done, read from the trace it wrote: sizes, spans with their text, the
/// continuation as the model wrote it, the files. `weights` is W_O's own file; empty where it is inside the trace.
std::string summary_text(const TraceInfo& trace, const std::filesystem::path& weights);

/// Summary for machines: what summary_text() says as one JSON object.
std::string summary_json(const TraceInfo& trace, const std::filesystem::path& weights);

} // namespace lava
