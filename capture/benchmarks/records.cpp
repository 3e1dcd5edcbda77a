#include "capture/benchmarks/records.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "base/unpacked_file.h"
#include "model/tokenizer.h"

#include <algorithm>
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

} // namespace

Record::Record(nlohmann::json json, const std::filesystem::path& file, std::size_t line)
    : json_(std::move(json))
    , file_(file)
    , line_(line)
    , where_(formatted("{}: line {}", file.string(), line))
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
        const std::string where = file.string() + ": line " + std::to_string(number);
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        Json json = parse_json(text, where);
        if (!json.is_object()) {
            throw Error(formatted("{}: expected a JSON object, found {}", where,
                json.is_discarded() ? what_is_no_json(text) : std::string(json.type_name())));
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
    return checked_text(UnpackedFile(file).rest(), file);
}

std::string shown(std::string_view text)
{
    const std::string quoted
        = Json(std::string(text.substr(0, 120))).dump(-1, ' ', false, Json::error_handler_t::replace);
    return quoted.size() <= 80 ? quoted : quoted.substr(0, quoted.find_last_of(' ', 76)) + " ...\"";
}

} // namespace lava
