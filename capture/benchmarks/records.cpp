#include "capture/benchmarks/records.h"

#include "base/error.h"
#include "model/tokenizer.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <sstream>

namespace lava {

namespace {

using Json = nlohmann::json;

std::string keys_of(const Json& json)
{
    std::string keys;
    for (const auto& item : json.items()) {
        keys += (keys.empty() ? "" : ", ") + item.key();
    }
    return keys.empty() ? "none" : keys.substr(0, 200);
}

std::string unpacked(const std::filesystem::path& file)
{
    const std::unique_ptr<gzFile_s, int (*)(gzFile)> stream(gzopen(file.c_str(), "rb"), gzclose);
    if (!stream || std::filesystem::is_directory(file)) {
        throw Error(file.string() + ": cannot be read");
    }
    std::string text;
    std::array<char, 1 << 16> part{};
    int size = 0;
    while ((size = gzread(stream.get(), part.data(), part.size())) > 0) {
        text.append(part.data(), static_cast<std::size_t>(size));
    }
    int code = Z_OK;
    gzerror(stream.get(), &code);
    if (size < 0 || code != Z_OK) { // a file that ends early reads as a short one
        throw Error(file.string() + ": expected a whole gzip file, found a damaged one");
    }
    return text;
}

} // namespace

Record::Record(nlohmann::json json, const std::filesystem::path& file, std::size_t line)
    : json_(std::move(json))
    , file_(file)
    , line_(line)
    , where_(file.string() + ": line " + std::to_string(line))
{ }

void Record::refuse(const std::string& expected_and_found) const
{
    throw Error(where_ + ": " + expected_and_found);
}

const nlohmann::json& Record::value(const std::string& key) const
{
    if (!json_.contains(key)) {
        refuse("expected the key " + key + ", found the keys " + keys_of(json_));
    }
    return json_[key];
}

std::string Record::text(const std::string& key) const
{
    const Json& found = value(key);
    if (!found.is_string()) {
        refuse(key + ": expected a string, found " + found.dump().substr(0, 40));
    }
    return found.get<std::string>();
}

std::vector<std::string> Record::texts(const std::string& key) const
{
    const Json& found = value(key);
    const auto is_text = [](const Json& element) { return element.is_string(); };
    if (!found.is_array() || found.empty() || !std::all_of(found.begin(), found.end(), is_text)) {
        refuse(key + ": expected a list of at least one string, found " + found.dump().substr(0, 40));
    }
    return found.get<std::vector<std::string>>();
}

std::vector<Record> read_records(const std::filesystem::path& file)
{
    std::istringstream lines(read_unpacked(file));
    std::vector<Record> records;
    std::string text;
    for (std::size_t number = 1; std::getline(lines, text); ++number) {
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        Json json = Json::parse(text, nullptr, false);
        if (!json.is_object()) {
            throw Error(file.string() + ": line " + std::to_string(number) + ": expected a JSON object, found "
                + (json.is_discarded() ? "something else" : json.type_name()));
        }
        records.emplace_back(std::move(json), file, number);
    }
    if (records.empty()) {
        throw Error(file.string() + ": expected a record a line, found none");
    }
    return records;
}

std::string read_unpacked(const std::filesystem::path& file)
{
    return checked_text(unpacked(file), file);
}

std::string shown(std::string_view text)
{
    const std::string quoted
        = Json(std::string(text.substr(0, 120))).dump(-1, ' ', false, Json::error_handler_t::replace);
    return quoted.size() <= 80 ? quoted : quoted.substr(0, quoted.find_last_of(' ', 76)) + " ...\"";
}

} // namespace lava
