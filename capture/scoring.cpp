#include "capture/scoring.h"

#include "base/error.h"

#include <algorithm>
#include <array>

namespace lava {

namespace {

using Json = nlohmann::json;

bool is_text(const Json& value)
{
    return value.is_string() && value != "";
}

bool is_texts(const Json& value)
{
    return value.is_array() && !value.empty()
        && std::all_of(value.begin(), value.end(), [](const Json& text) { return text.is_string(); });
}

bool is_texts_or_null(const Json& value)
{
    return value.is_null() || is_texts(value);
}

bool is_count(const Json& value)
{
    return value.is_number_integer() && value >= 1 && value <= 100'000'000;
}

bool is_count_or_null(const Json& value)
{
    return value.is_null() || is_count(value);
}

bool is_boolean(const Json& value)
{
    return value.is_boolean();
}

bool is_object(const Json& value)
{
    return value.is_object();
}

struct ScoringKey
{
    std::string_view name;
    bool (*fits)(const Json&);
    std::string_view expected;
};

constexpr auto keys = std::to_array<ScoringKey>({
    {"all_classes", is_texts_or_null, "null or a list of at least one string"},
    {"answers", is_texts, "a list of at least one string"},
    {"benchmark", is_text, "a string"},
    {"chat_template", is_boolean, "true or false"},
    {"max_length", is_count_or_null, "null or a number of tokens"},
    {"max_new_tokens", is_count, "a number of tokens"},
    {"metric", is_text, "a string"},
    {"record", is_object, "an object"},
    {"stop", is_object, "an object"},
    {"task", is_text, "a string"},
    {"uncut_tokens", is_count_or_null, "null or a number of tokens"},
    {"variant", is_text, "a string"},
});

} // namespace

bool is_scoring_key(std::string_view key)
{
    return std::any_of(keys.begin(), keys.end(), [key](const ScoringKey& known) { return known.name == key; });
}

nlohmann::json scoring_of(const nlohmann::json& line, const std::string& where)
{
    Json scoring;
    for (const ScoringKey& key : keys) {
        const auto found = line.find(key.name);
        if (found == line.end()) {
            continue;
        }
        if (!key.fits(*found)) {
            throw Error(where + ": " + std::string(key.name) + ": expected " + std::string(key.expected) + ", found "
                + found->dump().substr(0, 40));
        }
        scoring[std::string(key.name)] = *found;
    }
    return scoring;
}

} // namespace lava
