#include "traces/recorded_part.h"

#include "base/error.h"
#include "base/formatted.h"

#include <charconv>
#include <optional>

namespace lava {

namespace {

constexpr std::int64_t largest_number = 65535;

std::int64_t number(const std::vector<std::int64_t>& numbers, std::int64_t index)
{
    return numbers.empty() ? index : numbers.at(static_cast<std::size_t>(index));
}

/// Takes a number off the front of `text`.
std::optional<std::int64_t> take_number(std::string_view& text)
{
    std::int64_t value = -1;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value < 0 || value > largest_number || text.front() == '-')
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    return value;
}

bool take(std::string_view& text, char expected)
{
    const bool there = !text.empty() && text.front() == expected;
    text.remove_prefix(there ? 1 : 0);
    return there;
}

} // namespace

std::int64_t layer_number(const TraceInfo& info, std::int64_t layer)
{
    return number(info.layer_numbers, layer);
}

std::int64_t kv_head_number(const TraceInfo& info, std::int64_t kv_head)
{
    return number(info.kv_head_numbers, kv_head);
}

std::int64_t query_head_number(const TraceInfo& info, std::int64_t query_head)
{
    const auto group = info.shape.group_size();
    return kv_head_number(info, query_head / group) * group + query_head % group;
}

bool is_part(const TraceInfo& info)
{
    return !info.layer_numbers.empty() || !info.kv_head_numbers.empty();
}

std::string part_text(const TraceInfo& info)
{
    std::string text;
    if (!info.layer_numbers.empty())
        text = "layers " + ranges_text(info.layer_numbers);
    if (!info.kv_head_numbers.empty())
        text += (text.empty() ? "KV heads " : ", KV heads ") + ranges_text(info.kv_head_numbers);
    return text;
}

std::vector<std::int64_t> parse_ranges(std::string_view text, const std::string& option)
{
    const auto whole = std::string(text);
    std::vector<std::int64_t> numbers;
    do {
        const auto first = take_number(text);
        const auto last = first && take(text, '-') ? take_number(text) : first;
        if (!first || !last || *last < *first || (!numbers.empty() && *first <= numbers.back()))
            throw UsageError(option + ": expected ascending numbers and ranges such as 0,4-7, found '" + whole + "'");
        for (auto value = *first; value <= *last; ++value)
            numbers.push_back(value);
    } while (take(text, ','));
    if (!text.empty())
        throw UsageError(option + ": expected ascending numbers and ranges such as 0,4-7, found '" + whole + "'");
    return numbers;
}

std::string ranges_text(std::span<const std::int64_t> numbers)
{
    std::string text;
    for (std::size_t i = 0; i < numbers.size();) {
        auto end = i + 1;
        while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1)
            ++end;
        text += (text.empty() ? "" : ",") + std::to_string(numbers[i]);
        if (end - i > 1)
            text += formatted("-{}", numbers[end - 1]);
        i = end;
    }
    return text;
}

} // namespace lava
