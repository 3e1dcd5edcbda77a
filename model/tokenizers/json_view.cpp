#include "model/tokenizers/json_view.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "model/lfs_pointer.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace lava {

JsonView::JsonView(const Json& value, std::string file, std::string path)
    : value_(&value)
    , file_(std::move(file))
    , path_(std::move(path))
{ }

std::optional<JsonView> JsonView::find(const std::string& key) const
{
    if (!value_->is_object()) {
        refuse("an object");
    }
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) {
        return std::nullopt;
    }
    return JsonView(*found, file_, path_.empty() ? key : path_ + "." + key);
}

JsonView JsonView::at(const std::string& key) const
{
    if (const std::optional<JsonView> found = find(key)) {
        return *found;
    }
    refuse("an object with " + key);
}

std::vector<JsonView> JsonView::elements() const
{
    if (!value_->is_array()) {
        refuse("a list");
    }
    std::vector<JsonView> result;
    for (const Json& element : *value_) {
        result.emplace_back(element, file_, formatted("{}[{}]", path_, result.size()));
    }
    return result;
}

std::vector<std::pair<std::string, JsonView>> JsonView::members() const
{
    if (!value_->is_object()) {
        refuse("an object");
    }
    std::vector<std::pair<std::string, JsonView>> result;
    for (const auto& [key, value] : value_->items()) {
        result.emplace_back(key, JsonView(value, file_, path_ + "[" + key + "]"));
    }
    return result;
}

std::string JsonView::string() const
{
    if (!value_->is_string()) {
        refuse("a string");
    }
    return value_->get<std::string>();
}

bool JsonView::boolean() const
{
    if (!value_->is_boolean()) {
        refuse("true or false");
    }
    return value_->get<bool>();
}

std::int64_t JsonView::integer() const
{
    if (!value_->is_number_integer() || (value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX)) {
        refuse("an integer");
    }
    return value_->get<std::int64_t>();
}

std::int64_t JsonView::token_id() const
{
    constexpr std::int64_t most = 1 << 24;
    if (!value_->is_number_integer() || *value_ < 0 || *value_ >= most) {
        refuse(formatted("a token id below {}", most));
    }
    return value_->get<std::int64_t>();
}

bool JsonView::boolean(const std::string& key, bool otherwise) const
{
    const std::optional<JsonView> found = find(key);
    return found ? found->boolean() : otherwise;
}

std::string JsonView::type() const
{
    const std::optional<JsonView> found = find("type");
    return found ? found->string() : std::string();
}

void JsonView::require_known(std::initializer_list<std::string_view> keys) const
{
    for (const auto& [key, member] : members()) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
            throw Error(file_ + ": " + (path_.empty() ? key : path_ + "." + key) + ": a key that is not known here");
        }
    }
}

void JsonView::require_depth(int depth) const
{
    if (depth > 50) {
        throw Error(file_ + ": expected sequences at most 50 deep in one another, found more");
    }
}

void JsonView::refuse(const std::string& expected) const
{
    throw Error(file_ + ": " + (path_.empty() ? std::string() : path_ + ": ") + "expected " + expected + ", found "
        + value_->dump().substr(0, 80));
}

nlohmann::json read_json(const std::filesystem::path& file)
{
    refuse_lfs_pointer(file);
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        throw Error(file.string() + ": cannot be read");
    }
    std::ostringstream text;
    text << stream.rdbuf();
    refuse_deep_json(text.view(), file.string());
    try {
        return nlohmann::json::parse(text.view());
    } catch (const nlohmann::json::exception& error) {
        throw Error(file.string() + ": not JSON: " + error.what());
    }
}

} // namespace lava
