#pragma once

#include "analysis/replay_report.h"
#include "model/decoder.h"
#include "replay/replay.h"
#include "traces/trace.h"

#include <filesystem>

namespace lava {

struct ClosedLoopOptions
{
    std::int64_t steps = 0; ///< 0: as many as the trace records
    bool free = false; ///< let every cell answer by itself, too, as answer_rule() has it
    std::int64_t answer_length = 0; ///< tokens of such an answer; 0: the trace's max_new_tokens, or else `steps`
    int threads = 1;
};

/// The model that a trace was recorded with, in float32 on the CPU. Throws Error where the folder holds another one.
Decoder open_model_of(const Trace& trace, const std::filesystem::path& folder);

/// Throws Error where the trace has no evaluation steps, the model's context is too short, the trace's stop rule makes
/// no sense or answers do not fit into memory.
void check_closed_loop(const Trace& trace, const Decoder& decoder, const ClosedLoopOptions& options);

/// Runs the model from every retained set of the report and adds what becomes of its predictions. Each (policy,
/// budget) is a row of one decode batch over the recorded keys and values; so is the dense run, which KL and drift are
/// against. Teacher-forced with the trace's evaluation steps; beyond those, with what the dense run goes on to say.
/// Throws Error as check_closed_loop() does, or where the first token of an answer cannot be known.
void add_closed_loop(const Trace& trace, const Decoder& decoder, const ClosedLoopOptions& options, ReplayReport& report,
    const ReplayObserver& observer = {});

} // namespace lava
