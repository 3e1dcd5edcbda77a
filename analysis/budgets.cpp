#include "analysis/budgets.h"

#include "base/error.h"
#include "base/formatted.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
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

[[noreturn]] void below_one(const BudgetItem& item, std::int64_t entries)
{
    throw UsageError("--budget: expected at least 1 entry, found '" + item.text + "'"
        + (item.text == std::to_string(entries) ? "" : formatted(" = {}", entries)));
}

double checked_fraction(double value, double most, std::string_view item)
{
    if (!(value >= 0) || value > most) {
        malformed(item);
    }
    return value;
}

// a:b:xK
void parse_range(BudgetItem& item)
{
    const std::string_view text = item.text;
    const auto first = text.find(':');
    const auto second = text.find(':', first + 1);
    if (second == std::string_view::npos || second + 1 >= text.size() || text[second + 1] != 'x') {
        malformed(text);
    }
    item.kind = BudgetItem::Kind::range;
    item.from = parse_number<std::int64_t>(text.substr(0, first), text);
    item.to = parse_number<std::int64_t>(text.substr(first + 1, second - first - 1), text);
    item.number = parse_number<double>(text.substr(second + 2), text);
    if (!(item.number > 1) || !std::isfinite(item.number) || item.to < item.from) {
        throw UsageError("--budget: expected a:b:xK with a <= b and K > 1, found '" + item.text + "'");
    }
    if (item.from < 1) {
        throw UsageError("--budget: expected at least 1 entry, found '" + item.text + "'");
    }
    constexpr double most_steps = 10000;
    const double span = std::log(static_cast<double>(item.to) / static_cast<double>(item.from));
    if (span > most_steps * std::log(item.number)) {
        throw UsageError("--budget: expected K further above 1, found '" + item.text + "'");
    }
}

BudgetItem parse_item(std::string_view text)
{
    BudgetItem item(0);
    item.text = text;
    constexpr std::string_view ratio = "ratio:";
    if (text.starts_with(ratio)) {
        item.kind = BudgetItem::Kind::ratio;
        item.number = checked_fraction(parse_number<double>(text.substr(ratio.size()), text), 1, text);
    } else if (text.ends_with('%')) {
        item.kind = BudgetItem::Kind::percent;
        item.number = parse_number<double>(text.substr(0, text.size() - 1), text);
        if (!std::isfinite(item.number) || item.number > 1e6) {
            malformed(text);
        }
        if (item.number <= 0) {
            throw UsageError("--budget: expected at least 1 entry, found '" + item.text + "'");
        }
    } else if (text.find(':') != std::string_view::npos) {
        parse_range(item);
    } else {
        item.from = parse_number<std::int64_t>(text, text);
        if (item.from < 1) {
            below_one(item, item.from);
        }
    }
    return item;
}

void add(Budgets& budgets, const BudgetItem& item, const Budget& budget, std::int64_t seq_len)
{
    if (budget.entries < 1) {
        below_one(item, budget.entries);
    }
    if (budget.entries > seq_len) {
        throw Error(formatted("--budget: expected at most the prompt's {} tokens, found '{}'", seq_len, item.text));
    }
    auto& known = budgets[budget.entries];
    known = budget.ratio ? budget.ratio : known;
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

BudgetItem::BudgetItem(std::int64_t entries)
    : text(std::to_string(entries))
    , from(entries)
{ }

std::vector<BudgetItem> parse_budget_items(std::string_view list)
{
    std::vector<BudgetItem> items;
    for (;;) {
        const auto comma = list.find(',');
        items.push_back(parse_item(list.substr(0, comma)));
        if (comma == std::string_view::npos) {
            return items;
        }
        list.remove_prefix(comma + 1);
    }
}

std::vector<Budget> budgets_of(const BudgetItem& item, std::int64_t seq_len)
{
    const auto n = static_cast<double>(seq_len);
    switch (item.kind) {
    case BudgetItem::Kind::entries:
        break;
    case BudgetItem::Kind::percent:
        return {{static_cast<std::int64_t>(std::floor(item.number * n / 100)), {}}};
    case BudgetItem::Kind::ratio:
        return {{std::max<std::int64_t>(1, static_cast<std::int64_t>(n * (1 - item.number))), item.number}};
    case BudgetItem::Kind::range: {
        Budgets budgets;
        const auto last = static_cast<double>(std::min(item.to, seq_len));
        for (auto budget = static_cast<double>(item.from); budget <= last; budget *= item.number) {
            budgets.try_emplace(static_cast<std::int64_t>(budget));
        }
        return listed(budgets);
    }
    }
    return {{item.from, {}}};
}

std::vector<std::int64_t> budgets_named(
    const BudgetItem& item, std::span<const std::int64_t> known, std::int64_t seq_len)
{
    std::vector<std::int64_t> named;
    for (const auto& budget : budgets_of(item, seq_len)) {
        if (std::ranges::count(known, budget.entries) > 0) {
            named.push_back(budget.entries);
        }
    }
    const bool is_whole = item.kind == BudgetItem::Kind::percent && item.number == std::floor(item.number);
    if (named.empty() && is_whole) {
        std::ranges::copy_if(known, std::back_inserter(named), [&](std::int64_t budget) {
            return std::round(100 * static_cast<double>(budget) / static_cast<double>(seq_len)) == item.number;
        });
    }
    return named;
}

std::vector<Budget> parse_budgets(std::string_view list, std::int64_t seq_len)
{
    Budgets budgets;
    for (const auto& item : parse_budget_items(list)) {
        for (const auto& budget : budgets_of(item, seq_len)) {
            add(budgets, item, budget, seq_len);
        }
    }
    if (budgets.empty()) {
        throw Error(formatted("--budget: no budget of the range is within the prompt's {} tokens", seq_len));
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
