#include "model/config_section.h"

#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

using nlohmann::json;

constexpr std::int64_t largest_size = std::int64_t{1} << 32; // far above any model, far below an overflow

bool is_positive(const json& value)
{
    return value.is_number() && value.get<double>() > 0 && std::isfinite(value.get<double>());
}

} // namespace

ConfigSection::ConfigSection(std::string file, const json& values, std::string prefix)
    : file_(std::move(file))
    , values_(values)
    , prefix_(std::move(prefix))
{ }

void ConfigSection::fail(std::string_view key, const std::string& message) const
{
    throw Error(file_ + ": " + prefix_ + std::string(key) + ": " + message);
}

const json* ConfigSection::find(std::string_view key) const
{
    const auto found = values_.find(key);
    return found == values_.end() || found->is_null() ? nullptr : &*found;
}

const json& ConfigSection::require(std::string_view key) const
{
    const json* value = find(key);
    if (!value)
        fail(key, "expected a value, found none");
    return *value;
}

std::int64_t ConfigSection::size(std::string_view key) const
{
    const json& value = require(key);
    if (!value.is_number_integer() || value < 1 || value > largest_size)
        fail(key, "expected a positive integer, found " + value.dump());
    return value.get<std::int64_t>();
}

std::int64_t ConfigSection::count(std::string_view key) const
{
    const json& value = require(key);
    if (!value.is_number_integer() || value < 0 || value > largest_size)
        fail(key, "expected a number of at least 0, found " + value.dump());
    return value.get<std::int64_t>();
}

double ConfigSection::positive(std::string_view key) const
{
    const json& value = require(key);
    if (!is_positive(value))
        fail(key, "expected a positive number, found " + value.dump());
    return value.get<double>();
}

bool ConfigSection::boolean(std::string_view key) const
{
    const json& value = require(key);
    if (!value.is_boolean())
        fail(key, "expected true or false, found " + value.dump());
    return value.get<bool>();
}

std::string ConfigSection::text(std::string_view key) const
{
    const json& value = require(key);
    if (!value.is_string())
        fail(key, "expected a string, found " + value.dump());
    return value.get<std::string>();
}

std::vector<double> ConfigSection::positive_list(std::string_view key) const
{
    const json& value = require(key);
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_positive))
        fail(key, "expected a list of positive numbers, found " + value.dump());
    return value.get<std::vector<double>>();
}

void ConfigSection::expect_if_given(std::string_view key, const json& expected) const
{
    const json* value = find(key);
    if (value && *value != expected)
        fail(key, "only " + expected.dump() + " is supported, found " + value->dump());
}

std::optional<ConfigSection> ConfigSection::object(std::string_view key) const
{
    const json* value = find(key);
    if (!value)
        return std::nullopt;
    if (!value->is_object())
        fail(key, "expected an object, found " + value->dump());
    return ConfigSection(file_, *value, prefix_ + std::string(key) + ".");
}

} // namespace lava
