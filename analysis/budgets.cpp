#include "replay/budgets.h"

#include "traces/error.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>

namespace lava {

namespace {

using Budgets = std::map<std::int64_t, std::optional<double>>;

[[noreturn]] void malformed(std::string_view item)
{
    throw UsageError("--budget: expected N, a:b:xK, P% or ratio:r, found '" + std::string(item) + "'");
}

template <typename Number> Number parse_number(std::string_view text, std::string_view item)
{
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        malformed(item);
    }
    return number;
}

void add(Budgets& budgets, std::int64_t budget, std::string_view item, std::int64_t seq_len,
    std::optional<double> ratio = {})
{
    if (budget < 1) {
        throw UsageError("--budget: expected at least 1 entry, found '" + std::string(item) + "'"
            + (item == std::to_string(budget) ? "" : " = " + std::to_string(budget)));
    }
    if (budget > seq_len) {
        throw Error("--budget: expected at most the prompt's " + std::to_string(seq_len) + " tokens, found '"
            + std::string(item) + "'");
    }
    auto& known = budgets[budget];
    known = ratio ? ratio : known;
}

// a:b:xK
void add_range(Budgets& budgets, std::string_view item, std::int64_t seq_len)
{
    const auto first = item.find(':');
    const auto second = item.find(':', first + 1);
    if (second == std::string_view::npos || second + 1 >= item.size() || item[second + 1] != 'x') {
        malformed(item);
    }
    const auto from = parse_number<std::int64_t>(item.substr(0, first), item);
    const auto to = parse_number<std::int64_t>(item.substr(first + 1, second - first - 1), item);
    const auto factor = parse_number<double>(item.substr(second + 2), item);
    if (!(factor > 1) || !std::isfinite(factor) || to < from) {
        throw UsageError("--budget: expected a:b:xK with a <= b and K > 1, found '" + std::string(item) + "'");
    }
    if (from < 1) {
        throw UsageError("--budget: expected at least 1 entry, found '" + std::string(item) + "'");
    }
    constexpr double most_steps = 10000;
    if (std::log(static_cast<double>(to) / static_cast<double>(from)) > most_steps * std::log(factor)) {
        throw UsageError("--budget: expected K further above 1, found '" + std::string(item) + "'");
    }
    for (double budget = static_cast<double>(from); budget <= static_cast<double>(std::min(to, seq_len));
         budget *= factor) {
        budgets.try_emplace(static_cast<std::int64_t>(budget));
    }
}

double checked_fraction(double value, double most, std::string_view item)
{
    if (!(value >= 0) || value > most) {
        malformed(item);
    }
    return value;
}

void add_item(Budgets& budgets, std::string_view item, std::int64_t seq_len)
{
    const auto n = static_cast<double>(seq_len);
    constexpr std::string_view ratio = "ratio:";
    if (item.starts_with(ratio)) {
        const auto r = checked_fraction(parse_number<double>(item.substr(ratio.size()), item), 1, item);
        add(budgets, std::max<std::int64_t>(1, static_cast<std::int64_t>(n * (1 - r))), item, seq_len, r);
    } else if (item.ends_with('%')) {
        const auto percent = parse_number<double>(item.substr(0, item.size() - 1), item);
        if (!std::isfinite(percent) || percent > 1e6) {
            malformed(item);
        }
        add(budgets, static_cast<std::int64_t>(std::floor(percent * n / 100)), item, seq_len);
    } else if (item.find(':') != std::string_view::npos) {
        add_range(budgets, item, seq_len);
    } else {
        add(budgets, parse_number<std::int64_t>(item, item), item, seq_len);
    }
}

std::vector<Budget> listed(const Budgets& budgets)
{
    std::vector<Budget> list;
    for (const auto& [entries, ratio] : budgets) {
        list.push_back({entries, ratio});
    }
    return list;
}

} // namespace

std::vector<Budget> parse_budgets(std::string_view list, std::int64_t seq_len)
{
    Budgets budgets;
    while (true) {
        const auto comma = list.find(',');
        add_item(budgets, list.substr(0, comma), seq_len);
        if (comma == std::string_view::npos) {
            break;
        }
        list.remove_prefix(comma + 1);
    }
    if (budgets.empty()) {
        throw Error("--budget: no budget of the range is within the prompt's " + std::to_string(seq_len) + " tokens");
    }
    return listed(budgets);
}

std::vector<Budget> default_budgets(std::int64_t seq_len, std::int64_t reserved)
{
    constexpr int count = 12;
    const auto comfortable = std::max<std::int64_t>(16, 2 * reserved);
    const auto least = comfortable < seq_len ? comfortable : std::min(reserved + 1, seq_len);
    const auto ratio = static_cast<double>(seq_len) / static_cast<double>(least);
    Budgets budgets{{least, {}}, {seq_len, {}}};
    for (int i = 1; i + 1 < count; ++i) {
        budgets.try_emplace(
            std::llround(static_cast<double>(least) * std::pow(ratio, static_cast<double>(i) / (count - 1))));
    }
    return listed(budgets);
}

} // namespace lava
