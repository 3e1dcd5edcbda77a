#include "analysis/predictions.h"

#include "analysis/metrics/answers.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "base/program.h"
#include "base/unpacked_file.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <initializer_list>
#include <new>
#include <optional>

namespace lava {

namespace {

using nlohmann::json;

/// The code of an escape \uXXXX that begins at `at`, 0 where there is none.
std::uint32_t escaped_code(std::string_view line, std::size_t at)
{
    std::uint32_t code = 0;
    if (line.substr(at, 2) == "\\u" && line.size() >= at + 6)
        std::from_chars(line.data() + at + 2, line.data() + at + 6, code, 16);
    return code;
}

bool is_first_half(std::uint32_t code)
{
    return code >= 0xD800 && code < 0xDC00;
}

bool is_second_half(std::uint32_t code)
{
    return code >= 0xDC00 && code < 0xE000;
}

/// The line with `escape_of` the code in place of the escape of each half of a surrogate pair that stands alone.
template <typename EscapeOf> std::string with_halves_as(const EscapeOf& escape_of, std::string_view line)
{
    std::string text;
    std::size_t copied = 0;
    for (std::size_t at = line.find('\\'); at != std::string_view::npos; at = line.find('\\', at)) {
        const std::uint32_t code = escaped_code(line, at);
        const bool pair = is_first_half(code) && is_second_half(escaped_code(line, at + 6));
        if (!pair && (is_first_half(code) || is_second_half(code))) {
            text.append(line, copied, at - copied).append(escape_of(code));
            copied = at + 6;
        }
        at += pair ? 12 : code ? 6 : 2;
    }
    return text.append(line, copied);
}

/// Python writes half a surrogate pair as an escape and reads it again, although it is no character: each becomes a
/// private character of its own, U+10F800 and on.
std::string private_character(std::uint32_t half)
{
    char escapes[13];
    std::snprintf(
        escapes, sizeof escapes, "\\u%04x\\u%04x", is_first_half(half) ? 0xDBFEu : 0xDBFFu, 0xDC00u + (half & 0x3FFu));
    return escapes;
}

json parsed(const std::string& line)
{
    json record = json::parse(line, nullptr, false);
    if (record.is_discarded())
        record = json::parse(with_halves_as(private_character, line), nullptr, false);
    if (record.is_discarded()) { // with escapes as long as the halves', so that the fault's place is the line's
        const auto any = [](std::uint32_t) { return "\\u0020"; };
        throw Error("expected one JSON object, found " + what_is_no_json(with_halves_as(any, line)));
    }
    if (!record.is_object())
        throw Error("expected one JSON object, found a " + kind_of(record));
    return record;
}

/// The first of `names` that the record has.
const json* find(const json& record, std::initializer_list<const char*> names)
{
    for (const char* name : names) {
        if (const auto found = record.find(name); found != record.end())
            return &*found;
    }
    return nullptr;
}

std::string keys_of(const json& record)
{
    std::string keys;
    for (const auto& [key, value] : record.items())
        keys += (keys.empty() ? "" : ", ") + printable(key);
    return keys.empty() ? "none" : keys;
}

std::vector<std::string> classes_of(const json& record)
{
    std::vector<std::string> classes;
    const json* all = find(record, {"all_classes"});
    if (!all || all->is_null())
        return classes;
    const auto is_text = [](const json& one) { return one.is_string(); };
    if (!all->is_array() || !std::ranges::all_of(*all, is_text))
        throw Error("all_classes: expected a list of strings or null");
    return all->get<std::vector<std::string>>();
}

Prediction prediction_of(const json& record)
{
    const json* text = find(record, {"prediction", "pred", "model_response"});
    const json* answers = find(record, {"answers", "ground_truth", "label", "outputs", "needle"});
    if (!text || !answers) {
        throw Error(std::string("has no ") + (text ? "right answers" : "prediction")
            + ": expected pred and answers (LongBench), prediction and ground_truth (InfiniteBench) or pred and "
              "outputs "
              "(RULER), found "
            + keys_of(record));
    }
    if (!text->is_string())
        throw Error("the prediction: expected a string, found a " + kind_of(*text));
    if (answers->is_null())
        throw Error("the right answers: expected some, found null");
    const json* dataset = find(record, {"dataset", "task"});
    const json* id = find(record, {"id", "_id", "index"});
    return {0, id ? *id : json(), dataset && dataset->is_string() ? dataset->get<std::string>() : "",
        text->get<std::string>(), *answers, classes_of(record)};
}

} // namespace

void for_each_prediction(const std::filesystem::path& file, const std::function<void(const Prediction&)>& use)
{
    UnpackedFile lines(file);
    std::int64_t number = 0;
    while (const auto line = lines.next_line()) {
        ++number;
        if (line->find_first_not_of(" \t\r") == std::string::npos)
            continue;
        const std::string where = file.string() + ":" + std::to_string(number);
        refuse_deep_json(*line, where);
        try {
            Prediction prediction = prediction_of(parsed(*line));
            prediction.line = number;
            use(prediction);
        } catch (const Error& error) {
            throw Error(where + ": " + error.what());
        } catch (const std::bad_alloc&) {
            throw Error(where + ": needs more memory than there is");
        }
    }
}

} // namespace lava
