#pragma once

#include "traces/trace_info.h"

#include <nlohmann/json_fwd.hpp>

namespace lava {

/// What the answer to a trace's prompt is scored by, as lava-prompts wrote it: an object with task, answers,
/// all_classes, metric, max_new_tokens, stop, benchmark, variant, record (capture/scoring.h), each where the prompt's
/// line had it; null where it had none. Reports keep it with the trace, in `tokenization`. Throws Error naming the
/// trace where it is no object.
nlohmann::json recorded_scoring(const TraceInfo& trace);

} // namespace lava
