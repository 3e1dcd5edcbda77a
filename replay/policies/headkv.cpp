#include "replay/policies/headkv.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <utility>

namespace lava {

namespace {

using HeadName = std::pair<std::int64_t, std::int64_t>; // layer, query head

HeadName parse_name(const std::string& file, const std::string& text)
{
    HeadName name{-1, -1};
    const auto* end = text.data() + text.size();
    const auto layer = std::from_chars(text.data(), end, name.first);
    if (layer.ec == std::errc() && layer.ptr != end && *layer.ptr == '-') {
        const auto head = std::from_chars(layer.ptr + 1, end, name.second);
        if (head.ec == std::errc() && head.ptr == end && name.first >= 0 && name.second >= 0) {
            return name;
        }
    }
    throw Error(file + ": expected heads named LAYER-HEAD, found '" + text + "'");
}

double importance(const std::string& file, const std::string& name, const nlohmann::json& value)
{
    const auto numbers = value.is_array() ? value : nlohmann::json::array({value});
    double sum = 0;
    for (const auto& number : numbers) {
        if (!number.is_number()) {
            throw Error(file + ": " + name + ": expected a number or a list of numbers, found " + number.type_name());
        }
        sum += number.get<double>();
    }
    if (numbers.empty() || !std::isfinite(sum)) {
        throw Error(file + ": " + name + ": expected a number or a list of numbers, found none");
    }
    return sum / static_cast<double>(numbers.size());
}

// Python's a // b for floats
double python_floor_div(double a, double b)
{
    const auto quotient = (a - std::fmod(a, b)) / b; // a, b > 0
    const auto whole = std::floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

} // namespace

std::vector<double> read_head_shares(const std::string& file)
{
    const auto json = parse_json_file(file);
    if (!json.is_object() || json.empty()) {
        throw Error(file + R"(: expected a JSON object of head importances, {"LAYER-HEAD": [numbers]})");
    }
    std::map<HeadName, double> by_head;
    for (const auto& [name, value] : json.items()) {
        by_head[parse_name(file, name)] = importance(file, name, value);
    }
    std::vector<double> shares;
    for (const auto& [name, mean] : by_head) {
        shares.push_back(mean);
    }
    const auto sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    if (!(sum > 0)) {
        throw Error(formatted("{}: expected importances with a sum above 0, found {:f}", file, sum));
    }
    for (auto& share : shares) {
        share /= sum;
    }
    return shares;
}

std::vector<std::int64_t> headkv_capacities(std::span<const double> shares, std::int64_t budget)
{
    const auto base = static_cast<double>(budget);
    const auto shared = python_floor_div(base, 1.01);
    std::vector<std::int64_t> capacities;
    for (const auto share : shares) {
        const auto pool = shared * static_cast<double>(shares.size());
        capacities.push_back(static_cast<std::int64_t>(std::nearbyint(share * pool + (base - shared))));
    }
    return capacities;
}

HeadKv::HeadKv(const PolicyParams& params)
    : Composed(params)
    , file_(params.text("file"))
    , shares_(read_head_shares(file_))
{ }

LayerScores HeadKv::score(const LayerInputs& layer) const
{
    const auto heads = layer.shape().num_layers * layer.shape().num_heads;
    if (static_cast<std::int64_t>(shares_.size()) != heads) {
        throw Error(formatted(
            "{}: expected importances of {} query heads (the trace's), found {}", file_, heads, shares_.size()));
    }
    return Composed::score(layer);
}

Allocation HeadKv::allocate(std::span<const RankedLayer>, const BudgetRequest& request) const
{
    const auto capacities = headkv_capacities(shares_, request.budget);
    const auto group = static_cast<std::size_t>(request.shape.group_size());
    Allocation allocation;
    for (auto head = capacities.begin(); head != capacities.end(); head += static_cast<std::ptrdiff_t>(group)) {
        const auto sum = std::accumulate(head, head + static_cast<std::ptrdiff_t>(group), std::int64_t{0});
        const auto mean = std::nearbyint(static_cast<double>(sum) / static_cast<double>(group));
        const bool all = request.spare() > request.evictable();
        allocation.granted.push_back(static_cast<std::int64_t>(mean));
        allocation.retained.push_back(
            all ? request.evictable() : std::clamp<std::int64_t>(allocation.granted.back(), 0, request.evictable()));
    }
    return allocation;
}

} // namespace lava
