#include "analysis/predictions.h"

#include "analysis/metrics/answers.h"
#include "base/error.h"
#include "base/program.h"

#include <zlib.h>

#include <cerrno>
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

json parsed(const std::string& line)
{
    json record;
    try {
        record = json::parse(line);
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
