#include "analysis/predictions.h"

#include "analysis/metrics/answers.h"
#include "base/error.h"
#include "base/program.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>

namespace lava {

namespace {

using nlohmann::json;

/// Lines of a file that may be gzipped.
class Lines
{
public:
    explicit Lines(const std::filesystem::path& file)
        : file_(file)
        , stream_(std::filesystem::is_directory(file) ? nullptr : gzopen(file.c_str(), "rb"), gzclose)
    {
        if (std::filesystem::is_directory(file))
            throw Error(file.string() + ": expected a file of JSON lines, found a folder");
        if (!stream_)
            throw Error(file.string() + ": cannot be opened: " + std::strerror(errno));
    }

    std::optional<std::string> next()
    {
        for (;;) {
            const std::size_t end = buffer_.find('\n', at_);
            if (end != std::string::npos || ended_) {
                if (at_ == buffer_.size())
                    return std::nullopt;
                std::string line = buffer_.substr(at_, end == std::string::npos ? end : end - at_);
                at_ = end == std::string::npos ? buffer_.size() : end + 1;
                return line;
            }
            read();
        }
    }

private:
    void read()
    {
        constexpr unsigned size = 1 << 16;
        buffer_.erase(0, at_);
        at_ = 0;
        const std::size_t before = buffer_.size();
        buffer_.resize(before + size);
        const int count = gzread(stream_.get(), buffer_.data() + before, size);
        int failure = Z_OK;
        const std::string reason = gzerror(stream_.get(), &failure);
        if (count < 0 || failure == Z_BUF_ERROR)
            throw Error(file_.string() + ": cannot be read: "
                + (failure == Z_BUF_ERROR ? std::string("the gzipped file ends early") : reason));
        buffer_.resize(before + static_cast<std::size_t>(count));
        ended_ = count == 0;
    }

    std::filesystem::path file_;
    std::unique_ptr<gzFile_s, int (*)(gzFile)> stream_;
    std::string buffer_;
    std::size_t at_ = 0;
    bool ended_ = false;
};

/// The code of an escape \uXXXX that begins at `at`, 0 where there is none.
std::uint32_t escaped_code(std::string_view line, std::size_t at)
{
    std::uint32_t code = 0;
    if (line.substr(at, 2) == "\\u" && line.size() >= at + 6)
        std::from_chars(line.data() + at + 2, line.data() + at + 6, code, 16);
    return code;
}

/// Python writes half a surrogate pair as an escape and reads it again, although it is no character: each becomes a
/// private character of its own, U+10F800 and on.
std::string without_half_pairs(std::string line)
{
    const auto is_first = [](std::uint32_t code) { return code >= 0xD800 && code < 0xDC00; };
    const auto is_second = [](std::uint32_t code) { return code >= 0xDC00 && code < 0xE000; };
    for (std::size_t at = line.find('\\'); at != std::string::npos; at = line.find('\\', at)) {
        const std::uint32_t code = escaped_code(line, at);
        const bool pair = is_first(code) && is_second(escaped_code(line, at + 6));
        const bool half = !pair && (is_first(code) || is_second(code));
        if (half) {
            char escapes[13];
            std::snprintf(escapes, sizeof escapes, "\\u%04x\\u%04x", is_first(code) ? 0xDBFEu : 0xDBFFu,
                0xDC00u + (code & 0x3FFu));
            line.replace(at, 6, escapes);
        }
        at += pair || half ? 12 : code ? 6 : 2;
    }
    return line;
}

json parsed(const std::string& line)
{
    json record = json::parse(line, nullptr, false);
    try {
        if (record.is_discarded())
            record = json::parse(without_half_pairs(line));
    } catch (const json::parse_error& error) {
        throw Error("expected one JSON object, found something else at byte " + std::to_string(error.byte));
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
    if (!text || !answers)
        throw Error(std::string("has no ") + (text ? "right answers" : "prediction")
            + ": expected pred and answers (LongBench), prediction and ground_truth (InfiniteBench) or pred and "
              "outputs "
              "(RULER), found "
            + keys_of(record));
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
    Lines lines(file);
    std::int64_t number = 0;
    while (const auto line = lines.next()) {
        ++number;
        if (line->find_first_not_of(" \t\r") == std::string::npos)
            continue;
        try {
            Prediction prediction = prediction_of(parsed(*line));
            prediction.line = number;
            use(prediction);
        } catch (const Error& error) {
            throw Error(file.string() + ":" + std::to_string(number) + ": " + error.what());
        }
    }
}

} // namespace lava
