#include "analysis/shares.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

namespace lava {

namespace {

std::int64_t rounded(std::int64_t budget, std::int64_t seq_len, std::int64_t steps)
{
    const double percent = 100 * static_cast<double>(budget) / static_cast<double>(seq_len);
    return std::llround(percent * static_cast<double>(steps));
}

/// A share, in steps, that comes to this budget when it is rounded down to entries, as lava-replay does; nothing where
/// there is none. Of several, as a prompt of less than 100 tokens has, one in tens or fives of percents.
std::optional<std::int64_t> asked(std::int64_t budget, std::int64_t seq_len, std::int64_t steps)
{
    for (const std::int64_t unit : {10 * steps, 5 * steps, std::int64_t{1}}) {
        const std::int64_t share = (100 * budget * steps + unit * seq_len - 1) / (unit * seq_len) * unit;
        if (share * seq_len < 100 * (budget + 1) * steps)
            return share;
    }
    return std::nullopt;
}

bool tells_apart(std::span<const SeriesBudget> budgets, std::int64_t steps)
{
    std::map<std::pair<std::size_t, std::int64_t>, std::int64_t> seen;
    for (const auto& [series, budget, seq_len] : budgets) {
        if (seen.try_emplace({series, rounded(budget, seq_len, steps)}, budget).first->second != budget)
            return false;
    }
    return true;
}

} // namespace

Shares::Shares(std::span<const SeriesBudget> budgets)
{
    for (const std::int64_t steps : {1, 2}) {
        const auto is_asked = [&](const SeriesBudget& of) { return asked(of.budget, of.seq_len, steps).has_value(); };
        if (std::ranges::all_of(budgets, is_asked)) {
            steps_ = steps;
            asked_ = true;
            return;
        }
    }
    constexpr std::int64_t finest = 100'000'000; // tells any two budgets of the longest prompt apart
    while (steps_ < finest && !tells_apart(budgets, steps_))
        steps_ *= 10;
}

std::int64_t Shares::place(std::int64_t budget, std::int64_t seq_len) const
{
    return asked_ ? asked(budget, seq_len, steps_).value_or(0) : rounded(budget, seq_len, steps_);
}

Value Shares::percent(std::int64_t place) const
{
    return steps_ == 1 ? Value(place) : Value(static_cast<double>(place) / static_cast<double>(steps_));
}

} // namespace lava
