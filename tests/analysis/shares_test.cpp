#include "analysis/shares.h"

#include <gtest/gtest.h>

#include <vector>

namespace lava {
namespace {

/// The percents that budgets of prompts count as, in the order given.
std::vector<Value> percents(const std::vector<SeriesBudget>& budgets)
{
    const Shares shares(budgets);
    std::vector<Value> list;
    for (const SeriesBudget& of : budgets)
        list.push_back(shares.percent(shares.place(of.budget, of.seq_len)));
    return list;
}

using Values = std::vector<Value>;

TEST(Shares, AreThoseThatBudgetsWereAskedForIn)
{
    // floor(30 % of 173) = 51, which is 29.48 %; floor(30 % of 131) = 39
    EXPECT_EQ(percents({{0, 51, 173}, {1, 39, 131}}), (Values{std::int64_t{30}, std::int64_t{30}}));
    // floor(37.5 % of 234, 250 and 264) = 87, 93 and 99
    EXPECT_EQ(percents({{0, 87, 234}, {1, 93, 250}, {2, 99, 264}}), (Values{37.5, 37.5, 37.5}));
    // floor(80 % of 61) = 48, and so is floor(79 % of 61)
    EXPECT_EQ(percents({{0, 48, 61}}), (Values{std::int64_t{80}}));
    EXPECT_EQ(percents({{0, 40, 40}, {0, 0, 40}}), (Values{std::int64_t{100}, std::int64_t{0}}));
}

TEST(Shares, AreRoundedWhereBudgetsAreEntries)
{
    EXPECT_EQ(percents({{0, 80, 451}, {0, 128, 451}}), (Values{std::int64_t{18}, std::int64_t{28}}));
    EXPECT_EQ(percents({{0, 100, 234}, {0, 101, 234}, {1, 127, 451}}), (Values{42.7, 43.2, 28.2}));
}

} // namespace
} // namespace lava
