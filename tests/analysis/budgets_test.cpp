#include "analysis/budgets.h"

#include "base/error.h"

#include <gmock/gmock.h>

namespace lava {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<std::int64_t> entries(const std::vector<Budget>& budgets)
{
    std::vector<std::int64_t> result;
    for (const auto& budget : budgets) {
        result.push_back(budget.entries);
    }
    return result;
}

TEST(Budgets, ListsRangesAndShares)
{
    EXPECT_THAT(entries(parse_budgets("64", 1000)), ElementsAre(64));
    EXPECT_THAT(entries(parse_budgets("256,64,64", 1000)), ElementsAre(64, 256));
    EXPECT_THAT(entries(parse_budgets("64:512:x2", 1000)), ElementsAre(64, 128, 256, 512));
    EXPECT_THAT(entries(parse_budgets("64:5000:x4", 1000)), ElementsAre(64, 256)); // what is above N is dropped
    EXPECT_THAT(entries(parse_budgets("10:30:x1.5", 1000)), ElementsAre(10, 15, 22));
    EXPECT_THAT(entries(parse_budgets("12.5%,100%", 1001)), ElementsAre(125, 1001));
}

TEST(Budgets, RatiosAreKvpresss)
{
    // int(1000 * (1 - .8)) is 199 in float64, and so is what kvpress keeps
    EXPECT_THAT(entries(parse_budgets("ratio:0.8,ratio:0.9", 1000)), ElementsAre(99, 199));
    EXPECT_THAT(
        entries(parse_budgets("ratio:0.9", 10)), ElementsAre(1)); // int(10 * (1 - .9)) is 0; at least one is kept
    EXPECT_THAT(entries(parse_budgets("ratio:0", 10)), ElementsAre(10));
}

TEST(Budgets, ARatioIsRememberedBesideItsEntries)
{
    EXPECT_THAT(parse_budgets("99,ratio:0.9,98", 1000), ElementsAre(Budget{98, {}}, Budget{99, 0.9}));
}

/// What of 100, 199, 256 and 512 an item names, of a prompt of 1000 tokens.
std::vector<std::int64_t> named(const char* item)
{
    const std::vector<std::int64_t> known = {100, 199, 256, 512};
    return budgets_named(parse_budget_items(item).front(), known, 1000);
}

TEST(Budgets, AreFoundAgainInEverySpelling)
{
    EXPECT_THAT(named("256"), ElementsAre(256));
    EXPECT_THAT(named("10%"), ElementsAre(100));
    EXPECT_THAT(named("25.6%"), ElementsAre(256));
    EXPECT_THAT(named("ratio:0.8"), ElementsAre(199));
    EXPECT_THAT(named("64:512:x2"), ElementsAre(256, 512));
    EXPECT_THAT(named("26%"), ElementsAre(256)) << "no budget is 260, and this one rounds to it";
    EXPECT_THAT(named("51.5%"), ElementsAre());
    EXPECT_THAT(named("ratio:0.9"), ElementsAre()) << "int(1000 * (1 - .9)) is 99";
    EXPECT_THAT(named("2000"), ElementsAre());
}

TEST(Budgets, BelowOneIsWrongUsage)
{
    for (const auto* list : {"0", "-3", "64,0", "0:10:x2", "0%", "0.01%"}) {
        EXPECT_THAT([&] { parse_budgets(list, 1000); }, ThrowsMessage<UsageError>(HasSubstr("at least 1"))) << list;
    }
}

TEST(Budgets, AboveThePromptAreRefusedByName)
{
    EXPECT_THAT([] { parse_budgets("64,2000", 1000); },
        ThrowsMessage<Error>("--budget: expected at most the prompt's 1000 tokens, found '2000'"));
    EXPECT_THAT([] { parse_budgets("101%", 1000); }, ThrowsMessage<Error>(HasSubstr("found '101%'")));
    EXPECT_THAT([] { parse_budgets("2000:4000:x2", 1000); }, ThrowsMessage<Error>(HasSubstr("no budget")));
}

TEST(Budgets, NonsenseIsNamed)
{
    for (const auto* list : {"", "64,", "many", "64:128", "64:128:2", "64:128:x", "1e3", "64.5", "%",
             "ratio:", "ratio:2", "ratio:nan", "nan%", " 64", "64;128", "999999999999999999999"}) {
        EXPECT_THROW(parse_budgets(list, 1000), UsageError) << list;
    }
    EXPECT_THROW(parse_budgets("64:128:x1", 1000), UsageError);
    EXPECT_THROW(parse_budgets("128:64:x2", 1000), UsageError);
    EXPECT_THROW(parse_budgets("64:128:x1.0000000001", 1000), UsageError); // would take minutes to count
}

TEST(DefaultBudgets, RunInEqualRatiosToTheWholePrompt)
{
    const auto budgets = entries(default_budgets(3788, 32));
    EXPECT_EQ(budgets.size(), 12U);
    EXPECT_EQ(budgets.front(), 64);
    EXPECT_EQ(budgets.back(), 3788);
    EXPECT_THAT(entries(default_budgets(40, 32)), ::testing::Each(::testing::Gt(32)));
    EXPECT_EQ(entries(default_budgets(33, 32)), std::vector<std::int64_t>{33});
}

} // namespace
} // namespace lava
