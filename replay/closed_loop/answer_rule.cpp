#include "replay/closed_loop/answer_rule.h"

#include "analysis/closed_loop.h"
#include "analysis/scoring.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>

namespace lava {

namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const TraceInfo& trace, const std::string& key, const std::string& expected, const Json& found)
{
    throw Error(trace.file + ": /run: tokenization: scoring: " + key + ": expected " + expected + ", found "
        + found.dump().substr(0, 40));
}

std::int64_t number_in(const TraceInfo& trace, const std::string& key, const Json& value, std::int64_t least)
{
    const auto expected = std::to_string(least) + " to " + std::to_string(most_steps) + " tokens";
    if (!value.is_number_integer() || value < least || value > most_steps)
        refuse(trace, key, expected, value);
    return value.get<std::int64_t>();
}

std::vector<std::int64_t> ids_in(const TraceInfo& trace, const Json& value, std::int64_t vocab_size)
{
    const auto is_id = [&](const Json& id) { return id.is_number_integer() && id >= 0 && id < vocab_size; };
    if (!value.is_array() || !std::ranges::all_of(value, is_id))
        refuse(trace, "stop: ids", "a list of token ids below " + std::to_string(vocab_size), value);
    return value.get<std::vector<std::int64_t>>();
}

StopRule stop_rule(const TraceInfo& trace, const ModelConfig& model, const Json& stop)
{
    if (!stop.is_object())
        refuse(trace, "stop", "an object", stop);
    StopRule rule{model.eos_token_ids, 0};
    std::vector<std::int64_t> further;
    for (const auto& [key, value] : stop.items()) {
        if (key == "eos" && value.is_boolean())
            rule.ids = value.get<bool>() ? model.eos_token_ids : std::vector<std::int64_t>{};
        else if (key == "ids")
            further = ids_in(trace, value, model.vocab_size);
        else if (key == "min_new_tokens")
            rule.min_new_tokens = number_in(trace, "stop: min_new_tokens", value, 0);
        else
            refuse(trace, "stop", "eos (true or false), ids and min_new_tokens", stop);
    }
    rule.ids.insert(rule.ids.end(), further.begin(), further.end());
    return rule;
}

} // namespace

AnswerRule answer_rule(const TraceInfo& trace, const ModelConfig& model, std::int64_t length, std::int64_t otherwise)
{
    const auto scoring = recorded_scoring(trace);
    const auto of = [&](const char* key) { return scoring.is_object() && scoring.contains(key); };
    AnswerRule rule{length, {model.eos_token_ids, 0}};
    if (length == 0)
        rule.length
            = of("max_new_tokens") ? number_in(trace, "max_new_tokens", scoring["max_new_tokens"], 1) : otherwise;
    if (of("stop"))
        rule.stop = stop_rule(trace, model, scoring["stop"]);
    return rule;
}

} // namespace lava
