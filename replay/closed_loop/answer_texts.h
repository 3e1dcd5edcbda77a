#pragma once

#include "analysis/replay_report.h"
#include "model/official_decoder.h"
#include "model/tokenizer.h"

namespace lava {

/// Adds the bytes of every token that the closed loop speaks of.
void name_tokens(const Tokenizer& tokenizer, ReplayReport& report);

/// Adds the text of every answer, where answers were asked for.
void decode_answers(const OfficialDecoder& decode, ReplayReport& report);

} // namespace lava
