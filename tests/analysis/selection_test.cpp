#include "analysis/selection.h"

#include "base/error.h"
#include "tests/analysis/example_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// snapkv with its defaults, with another window, and an external set.
std::vector<ReplayReport> reports()
{
    ReplayReport report = example_report();
    report.file = "report.h5";
    PolicyReplay plain = report.policies[1];
    plain.policy = "snapkv";
    plain.parameters = {{"window", "32"}, {"kernel", "7"}, {"alpha", "0.2"}};
    PolicyReplay narrow = plain;
    narrow.policy = "snapkv:window=16";
    narrow.parameters[0].second = "16";
    PolicyReplay official = plain;
    official.policy = "snapkv@official";
    official.variant = "official";
    PolicyReplay external = plain;
    external.policy = "external:file=kept, a=b.json";
    external.name = "external";
    external.parameters = {{"file", "kept, a=b.json"}};
    external.budgets = {9};
    report.policies = {plain, narrow, official, external};
    return {report};
}

std::vector<std::string> selected(std::vector<std::string> policies)
{
    const auto all = reports();
    std::vector<std::string> names;
    for (const Cell& cell : select_cells(all, {std::move(policies), {}})) {
        if (names.empty() || names.back() != cell.replay().policy)
            names.push_back(cell.replay().policy);
    }
    return names;
}

template <typename Failure> std::string message_of(const Filter& filter)
{
    const auto all = reports();
    try {
        select_cells(all, filter);
    } catch (const Failure& error) {
        return error.what();
    }
    return "no error";
}

TEST(Selection, TakesEverythingInTheReportsOrder)
{
    const ReplayReport report = example_report();
    const std::vector<Cell> cells = all_cells(report);
    ASSERT_EQ(cells.size(), 9U);
    EXPECT_EQ(cells[5].replay().policy, "snapkv:window=4");
    EXPECT_EQ(cells[5].replay().budgets[cells[5].budget], 24);
}

TEST(Selection, FindsAPolicyInAnySpelling)
{
    EXPECT_THAT(selected({"snapkv"}), ElementsAre("snapkv"));
    EXPECT_THAT(selected({" snapkv : kernel = 7 "}), ElementsAre("snapkv"));
    EXPECT_THAT(selected({"snapkv:alpha=.20,window=32.0"}), ElementsAre("snapkv"));
    EXPECT_THAT(selected({"snapkv:kernel=7,window=16"}), ElementsAre("snapkv:window=16"));
    EXPECT_THAT(selected({"snapkv@official"}), ElementsAre("snapkv@official"));
    EXPECT_THAT(selected({"external:file=kept, a=b.json"}), ElementsAre("external:file=kept, a=b.json"));
}

TEST(Selection, KeepsTheReportsOrderWhateverTheFilters)
{
    EXPECT_THAT(selected({"snapkv@official", "snapkv"}), ElementsAre("snapkv", "snapkv@official"));
}

TEST(Selection, TakesWhatIsContainedWhereNothingIsNamedExactly)
{
    const ReplayReport report = example_report();
    const std::vector<Cell> cells = select_cells(std::span(&report, 1), {{"lava"}, {12}, {}});
    ASSERT_EQ(cells.size(), 1U);
    EXPECT_EQ(cells[0].replay().policy, "lava:window=4");
    EXPECT_EQ(cells[0].budget, 1U);
}

TEST(Selection, OfAnUnknownPolicyNamesTheKnownOnes)
{
    EXPECT_THAT(message_of<Error>({{"lava"}, {}}),
        HasSubstr("report.h5: no policy 'lava'; there are snapkv, snapkv:window=16, snapkv@official, external:file="));
    EXPECT_THAT(message_of<Error>({{"snapkv:window=17"}, {}}), HasSubstr("no policy 'snapkv:window=17'"));
    EXPECT_THAT(message_of<Error>({{"snapkv:windows=32"}, {}}), HasSubstr("no policy 'snapkv:windows=32'"));
    EXPECT_THAT(message_of<Error>({{"snapkv@other"}, {}}), HasSubstr("no policy 'snapkv@other'"));
}

TEST(Selection, TakesBudgetsInPercentOfThePrompt)
{
    const ReplayReport report = example_report(); // 6, 12 and 24 of 24
    const BudgetItem quarter = parse_budget_items("25%").front();
    Filter filter{{"lava"}, {24, quarter}};
    const std::vector<Cell> cells = select_cells(std::span(&report, 1), filter);
    ASSERT_EQ(cells.size(), 2U);
    EXPECT_EQ(cells[0].budget, 0U);
    EXPECT_EQ(cells[1].budget, 2U);
    filter.budgets = {parse_budget_items("30%").front()};
    EXPECT_THAT([&] { select_cells(std::span(&report, 1), filter); },
        testing::ThrowsMessage<Error>(HasSubstr("no budget 30%; there are 6, 12, 24")));
}

TEST(Selection, TakesAShareOfEachPrompt)
{
    std::vector<ReplayReport> reports = {example_report(), example_report()};
    for (PolicyReplay& replay : reports[1].policies)
        replay.budgets = {12, 24, 48};
    reports[1].trace.seq_len = 48;
    for (const char* text : {"25%", "ratio:0.75"}) {
        const std::vector<Cell> cells = select_cells(reports, {{"lava"}, parse_budget_items(text)});
        ASSERT_EQ(cells.size(), 2U) << text;
        EXPECT_EQ(cells[0].replay().budgets[cells[0].budget], 6) << text;
        EXPECT_EQ(cells[1].replay().budgets[cells[1].budget], 12) << text;
    }
    EXPECT_EQ(select_cells(reports, {{"lava"}, parse_budget_items("6:24:x2")}).size(), 5U);
}

TEST(Layers, AreFoundByTheirNumbersInTheModel)
{
    ReplayReport report = example_report();
    report.file = "report.h5";
    report.trace.layer_numbers = {7, 9, 10};
    EXPECT_THAT(layer_places(report, std::vector<std::int64_t>{9, -1, 10}), ElementsAre(1, 2));
    EXPECT_THAT([&] { layer_places(report, std::vector<std::int64_t>{8}); },
        testing::ThrowsMessage<Error>(HasSubstr("report.h5: --layer: expected -3 to 10, found 8")));
}

TEST(Selection, OfAnUnknownBudgetNamesTheKnownOnes)
{
    EXPECT_THAT(message_of<Error>({{}, {7}}), HasSubstr("report.h5: no budget 7; there are 6, 9, 12, 24"));
    EXPECT_THAT(message_of<Error>({{"external:file=kept, a=b.json"}, {12}}), HasSubstr("no budget 12; there are 9"));
}

TEST(Selection, OfAMalformedPolicySaysHowPoliciesAreSpelt)
{
    EXPECT_THAT(message_of<UsageError>({{"snapkv:16"}, {}}), HasSubstr("NAME[@VARIANT][:KEY=VALUE,...]"));
    EXPECT_THAT(message_of<UsageError>({{":window=16"}, {}}), HasSubstr("found no name"));
}

TEST(PolicySpelling, SplitsNameVariantAndParameters)
{
    const PolicySpelling spelling = parse_policy_spelling("lava@official:window=8,file=a,b:c=d");
    EXPECT_EQ(spelling.name, "lava");
    EXPECT_EQ(spelling.variant, "official");
    EXPECT_THAT(spelling.parameters, ElementsAre(testing::Pair("window", "8"), testing::Pair("file", "a,b:c=d")));
    EXPECT_THAT(parse_policy_spelling("full").parameters, IsEmpty());
}

TEST(ComparedAt, KeepsOneOfTwinsWithTheRankingTheyShare)
{
    ReplayReport report = example_report();
    PolicyReplay twin = report.policies[2];
    twin.match = "retained";
    twin.ranking.clear();
    twin.ranking_of = 2;
    report.policies[0].match = "both";
    report.policies.insert(report.policies.begin() + 1, report.policies[0]);
    report.policies[1].ranking.clear();
    report.policies[1].ranking_of = 0;
    twin.ranking_of = 3;
    report.policies.push_back(twin);
    const auto retained_alone = compared_at(report, "retained");
    ASSERT_EQ(retained_alone.policies.size(), 4U); // snapkv has no twin and stays
    EXPECT_EQ(retained_alone.policies[1].ranking_of, 0);
    EXPECT_EQ(retained_alone.policies[2].match, "nominal");
    EXPECT_EQ(retained_alone.policies[3].match, "retained");
    EXPECT_EQ(retained_alone.policies[3].ranking, report.policies[3].ranking);
    const auto nominal_alone = compared_at(report, "nominal");
    ASSERT_EQ(nominal_alone.policies.size(), 4U);
    EXPECT_EQ(nominal_alone.policies[3].ranking, report.policies[3].ranking);
}

} // namespace
} // namespace lava
