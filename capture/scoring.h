#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace lava {

/// Whether a line of prompts may have `key` for scoring its answer: task, answers, all_classes, max_new_tokens, metric,
/// stop, and where the prompt came from (benchmark, variant, record, chat_template, max_length, uncut_tokens).
bool is_scoring_key(std::string_view key);

/// The scoring keys of `line` as one JSON object; null where the line has none. Throws Error naming `where` and the key
/// whose value does not fit.
nlohmann::json scoring_of(const nlohmann::json& line, const std::string& where);

} // namespace lava
