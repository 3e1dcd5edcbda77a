#pragma once

#include "capture/prompts.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace lava {

/// What is fed after the prompt instead of greedy steps: nothing, a text, or token ids.
using Reference = std::variant<std::monostate, std::string, std::vector<std::int64_t>>;

/// One prompt of a capture.
struct CaptureJob
{
    std::string id; ///< names its trace; empty for a prompt of the command line
    std::string where; ///< "prompts.jsonl: line 3", for messages; empty for a prompt of the command line
    PromptRequest request;
    Reference reference;
};

/// One JSON object a line: prompt (text) or ids; optional chat, answer_prefix, reference (text or ids), spans
/// ([{"name", "begin", "end"}], characters of prompt, tokens of ids), id (by default the line's number) and what the
/// answer is scored by (capture/scoring.h). Empty lines are passed over. Throws
/// Error naming file, line and what is wrong: unknown keys, ids that are given twice or cannot name a file.
std::vector<CaptureJob> read_jobs(const std::filesystem::path& file);

/// Whether any of `jobs` needs a tokenizer.
bool needs_tokenizer(const std::vector<CaptureJob>& jobs);

} // namespace lava
