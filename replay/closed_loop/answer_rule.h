#pragma once

#include "model/config.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <vector>

namespace lava {

/// What ends an answer.
struct StopRule
{
    std::vector<std::int64_t> ids; ///< tokens that end it, and are its last one
    std::int64_t min_new_tokens = 0; ///< so many tokens come before any of `ids` may be chosen
};

struct AnswerRule
{
    std::int64_t length = 0; ///< the most tokens
    StopRule stop;
};

/// How the answers to a trace's prompt end: after `length` tokens, or at a token of the trace's stop rule, as
/// lava-prompts wrote it: {"eos": whether the model's own end tokens end it, "ids": further tokens that do,
/// "min_new_tokens": how many come first}. A trace without one: at the model's end tokens. `length` 0: the trace's
/// max_new_tokens, or `otherwise` where it has none. Throws Error naming the trace and what does not fit.
AnswerRule answer_rule(const TraceInfo& trace, const ModelConfig& model, std::int64_t length, std::int64_t otherwise);

} // namespace lava
