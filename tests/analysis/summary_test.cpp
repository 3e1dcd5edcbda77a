#include "analysis/summary.h"

#include "analysis/selection.h"
#include "tests/analysis/example_report.h"
#include "tests/analysis/table_cell.h"

#include <gmock/gmock.h>

namespace lava {
namespace {

using testing::DoubleNear;
using testing::Optional;

TEST(RankCorrelation, IsSpearmans)
{
    const std::vector<double> x = {1, 2, 3, 4, 5};
    EXPECT_THAT(rank_correlation(x, std::vector<double>{10, 20, 30, 40, 1000}), Optional(DoubleNear(1, 1e-12)));
    EXPECT_THAT(rank_correlation(x, std::vector<double>{5, 4, 3, 2, 1}), Optional(DoubleNear(-1, 1e-12)));
    // ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)
    EXPECT_THAT(rank_correlation(x, std::vector<double>{2, 1, 4, 3, 5}), Optional(DoubleNear(0.8, 1e-12)));
    // ties share their mean rank: 1.5 1.5 3 against 1 2 3, as scipy.stats.spearmanr has it
    EXPECT_THAT(rank_correlation(std::vector<double>{7, 7, 9}, std::vector<double>{1, 2, 3}),
        Optional(DoubleNear(0.8660254037844387, 1e-12)));
    EXPECT_EQ(rank_correlation(std::vector<double>{7, 7, 7}, std::vector<double>{1, 2, 3}), std::nullopt);
    EXPECT_EQ(rank_correlation(std::vector<double>{7}, std::vector<double>{1}), std::nullopt);
}

/// The example with a closed loop over three steps, where the dense run gives the answer 8 9.
ReplayReport answered_report(const std::vector<std::int64_t>& top_ids_of_lava)
{
    ReplayReport report = example_report();
    report.closed_loop.input_ids = {7, 8, 9};
    report.closed_loop.top_ids = {8, 9, 1};
    report.closed_loop.resid_l1.assign(3 * 3, 1.0);
    report.closed_loop.resid_l2.assign(3 * 3, 1.0);
    for (PolicyReplay& replay : report.policies) {
        replay.match = "both";
        for (std::size_t g = 0; g < replay.budgets.size(); ++g) {
            replay.closed_loop.drift_l1.resize((g + 1) * 9);
            replay.closed_loop.drift_l2.resize((g + 1) * 9);
            const auto size = static_cast<double>(replay.name.size());
            replay.closed_loop.kl.insert(replay.closed_loop.kl.end(), {size, 0, 2 * size});
            const std::vector<std::int64_t> wrong = {8, 1, 1};
            const auto& ids = replay.name == "lava" ? top_ids_of_lava : wrong;
            replay.closed_loop.top_ids.insert(replay.closed_loop.top_ids.end(), ids.begin(), ids.end());
        }
    }
    return report;
}

TEST(Summary, AveragesReportsAndCountsExactAnswers)
{
    const std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 8, 1})};
    const Table table = summary_table(select_cells(reports, {}));
    ASSERT_EQ(table.rows.size(), 9U); // three policies at 25, 50 and 100 %
    EXPECT_EQ(at(table, 2, "policy"), Value("lava:window=4"));
    EXPECT_EQ(at(table, 2, "match"), Value("both"));
    EXPECT_EQ(at(table, 2, "kept_percent"), Value(std::int64_t{25}));
    EXPECT_EQ(at(table, 2, "reports"), Value(std::int64_t{2}));
    EXPECT_EQ(at(table, 2, "exact"), Value(std::int64_t{1})); // what is predicted after the answer does not matter
    EXPECT_EQ(at(table, 2, "dense_exact"), Value(std::int64_t{2}));
    EXPECT_EQ(at(table, 0, "exact"), Value(std::int64_t{0}));
    EXPECT_EQ(at(table, 2, "kl"), Value(4.0)); // (4 + 0 + 8) / 3
    EXPECT_DOUBLE_EQ(std::get<double>(at(table, 2, "top1_agreement")), (2.0 / 3 + 2.0 / 3) / 2);
    const double loss = losses(Cell{reports[0], 2, 0})->ratio.attn_out_l1;
    EXPECT_DOUBLE_EQ(std::get<double>(at(table, 2, "attn_out_l1_relative")), loss);
    EXPECT_TRUE(std::holds_alternative<double>(at(table, 0, "rank_correlation")));
}

TEST(Summary, AnAnswerWhoseFirstTokenIsWrongIsNotExact)
{
    std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 9, 5})};
    reports[0].closed_loop.next_id = 7;
    reports[1].closed_loop.next_id = 6; // the prompt leads elsewhere
    const Table table = summary_table(select_cells(reports, {}));
    EXPECT_EQ(at(table, 2, "exact"), Value(std::int64_t{1}));
    EXPECT_EQ(at(table, 2, "dense_exact"), Value(std::int64_t{1}));
}

TEST(Summary, LeavesExactAnswersOpenWhereTheFirstTokenIsNotKnown)
{
    std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 9, 5})};
    reports[1].trace.continuation = "reference";
    reports[1].trace.eval_len = 3;
    const Table table = summary_table(select_cells(reports, {}));
    EXPECT_EQ(at(table, 2, "exact"), Value());
    EXPECT_EQ(at(table, 2, "dense_exact"), Value());
    EXPECT_EQ(at(table, 2, "kl"), Value(4.0));
}

TEST(Summary, TakesABudgetThatIsTheOneAtEqualRetentionForEither)
{
    std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 9, 1})};
    PolicyReplay twin = reports[0].policies[2];
    twin.match = "retained";
    twin.ranking.clear();
    twin.ranking_of = 2;
    reports[0].policies[2].match = "nominal";
    reports[0].policies.push_back(twin);
    const Table table = summary_table(select_cells(reports, {{"lava"}, {6}, "retained"}), {.match = "retained"});
    ASSERT_EQ(table.rows.size(), 1U);
    EXPECT_EQ(at(table, 0, "match"), Value("retained"));
    EXPECT_EQ(at(table, 0, "reports"), Value(std::int64_t{2}));
    EXPECT_EQ(summary_table(select_cells(reports, {{"lava"}, {6}, ""})).rows.size(), 2U);
}

double number(const Table& table, std::size_t row, const std::string& name)
{
    return std::get<double>(at(table, row, name));
}

/// answered_report() for several prompts, whose KL grows by 1 from one to the next.
std::vector<ReplayReport> prompts(std::size_t count)
{
    std::vector<ReplayReport> reports;
    for (std::size_t i = 0; i < count; ++i) {
        ReplayReport& report = reports.emplace_back(answered_report({8, 9, 1}));
        report.trace.prompt_ids[0] = static_cast<std::int64_t>(i);
        report.trace.file = "prompt-" + std::to_string(i) + ".h5";
        report.file = "report-" + std::to_string(i) + ".h5";
        for (PolicyReplay& replay : report.policies)
            for (double& kl : replay.closed_loop.kl)
                kl += static_cast<double>(i);
    }
    return reports;
}

TEST(Summary, SaysHowFarPromptsAreApart)
{
    const std::vector<ReplayReport> reports = prompts(3);
    const Table table = summary_table(select_cells(reports, {{"lava"}, {6}}));
    ASSERT_EQ(table.rows.size(), 1U);
    EXPECT_EQ(at(table, 0, "kl_n"), Value(std::int64_t{3}));
    EXPECT_DOUBLE_EQ(number(table, 0, "kl"), 5); // 4, 5 and 6
    EXPECT_DOUBLE_EQ(number(table, 0, "kl_sd"), 1);
    EXPECT_EQ(at(summary_table(select_cells(prompts(1), {{"lava"}, {6}})), 0, "kl_sd"), Value());
    EXPECT_EQ(at(table, 0, "prompt_id"), Value());
    const Table rows = summary_table(select_cells(reports, {{"lava"}, {6}}), {.by_report = true});
    ASSERT_EQ(rows.rows.size(), 3U);
    EXPECT_EQ(at(rows, 2, "report"), Value("report-2.h5"));
    EXPECT_EQ(at(rows, 2, "prompt_id"), Value("prompt-2"));
    EXPECT_DOUBLE_EQ(number(rows, 2, "kl"), 6);
}

TEST(Summary, ComparesWithABaselinePromptByPrompt)
{
    const std::vector<ReplayReport> reports = prompts(4);
    const SummaryRequest request{.baseline = "snapkv:window=4"};
    const Table table = summary_table(select_cells(reports, {{}, {6}}), request);
    ASSERT_EQ(table.rows.size(), 3U); // streaming-llm, snapkv, lava
    EXPECT_EQ(at(table, 1, "kl_difference"), Value()) << "the baseline itself";
    EXPECT_EQ(at(table, 2, "baseline"), Value("snapkv:window=4"));
    EXPECT_EQ(at(table, 2, "kl_difference_n"), Value(std::int64_t{4}));
    EXPECT_DOUBLE_EQ(number(table, 2, "kl_difference"), 4 - 6); // on every prompt, so the interval is a point
    EXPECT_DOUBLE_EQ(number(table, 2, "kl_difference_low"), -2);
    EXPECT_DOUBLE_EQ(number(table, 2, "kl_difference_high"), -2);
    EXPECT_GT(number(table, 2, "kl_sd"), 1);
}

/// Four policies, of which the last two were replayed in both ways, with this KL as nominal and as retained.
ReplayReport twins()
{
    ReplayReport report = prompts(1)[0];
    report.policies.push_back(report.policies[1]);
    report.policies[3].policy = "ada-snapkv";
    const double loss[] = {4, 3, 2, 1};
    for (std::size_t i = 0; i < 4; ++i) {
        PolicyReplay& replay = report.policies[i];
        replay.match = i < 2 ? "both" : "nominal";
        for (double& value : replay.attn_out_l1)
            value = loss[i];
        replay.closed_loop.kl.assign(replay.closed_loop.kl.size(), loss[i]);
    }
    for (std::size_t i = 2; i < 4; ++i) {
        PolicyReplay twin = report.policies[i];
        twin.match = "retained";
        twin.closed_loop.kl.assign(twin.closed_loop.kl.size(), 10 + loss[i]);
        report.policies.push_back(std::move(twin));
    }
    return report;
}

TEST(Summary, CorrelatesEveryPolicyOnceWithinOneWayOfComparison)
{
    const std::vector<ReplayReport> reports = {twins()};
    const Table table = summary_table(select_cells(reports, {{}, {6}}));
    ASSERT_EQ(table.rows.size(), 6U);
    EXPECT_EQ(at(table, 2, "match"), Value("nominal"));
    EXPECT_DOUBLE_EQ(number(table, 2, "rank_correlation"), 1); // 4 3 2 1 against 4 3 2 1
    EXPECT_EQ(at(table, 5, "match"), Value("retained"));
    EXPECT_DOUBLE_EQ(number(table, 5, "rank_correlation"), -0.6); // 4 3 2 1 against 4 3 12 11
    EXPECT_EQ(at(table, 0, "match"), Value("both"));
    EXPECT_EQ(at(table, 0, "rank_correlation"), Value()) << "two answers";
    for (const char* match : {"nominal", "retained"}) {
        const Table alone = summary_table(select_cells(reports, {{}, {6}, match}), {.match = match});
        ASSERT_EQ(alone.rows.size(), 4U);
        for (std::size_t row = 0; row < 4; ++row)
            EXPECT_EQ(at(alone, row, "rank_correlation"), at(table, match[0] == 'n' ? 2 : 5, "rank_correlation"));
    }
}

TEST(Summary, CorrelatesThreePoliciesOrMore)
{
    const std::vector<ReplayReport> reports = {twins()};
    const Table two = summary_table(select_cells(reports, {{"lava", "ada-snapkv"}, {6}})); // in four rows
    ASSERT_EQ(two.rows.size(), 4U);
    for (std::size_t row = 0; row < 4; ++row)
        EXPECT_EQ(at(two, row, "rank_correlation"), Value());
}

TEST(Summary, BringsPromptsOfSeveralLengthsTogetherByShare)
{
    std::vector<ReplayReport> reports = prompts(2);
    reports[1].trace.seq_len = 48;
    for (PolicyReplay& replay : reports[1].policies)
        replay.budgets = {12, 24, 48};
    const Table table = summary_table(select_cells(reports, {{"lava"}, {}}));
    ASSERT_EQ(table.rows.size(), 3U);
    EXPECT_EQ(at(table, 0, "kept_percent"), Value(std::int64_t{25}));
    EXPECT_EQ(at(table, 0, "reports"), Value(std::int64_t{2}));
    EXPECT_EQ(at(table, 0, "budget"), Value());
}

TEST(Summary, KeepsTheBudgetsOfAReportApart)
{
    std::vector<ReplayReport> reports = prompts(1);
    reports[0].trace.seq_len = 2000;
    for (PolicyReplay& replay : reports[0].policies)
        replay.budgets = {6, 12, 24}; // 0.3, 0.6 and 1.2 %: the last two would be 1 %
    const Table table = summary_table(select_cells(reports, {{"lava"}, {}}));
    ASSERT_EQ(table.rows.size(), 3U);
    EXPECT_EQ(at(table, 1, "kept_percent"), Value(0.6));
    EXPECT_EQ(at(table, 1, "reports"), Value(std::int64_t{1}));
}

TEST(Summary, LeavesOpenWhatReportsLack)
{
    const std::vector<ReplayReport> reports = {example_report_without_losses()};
    const Table table = summary_table(select_cells(reports, {}));
    for (const char* column :
        {"attn_out_l1_relative", "kl", "top1_agreement", "exact", "dense_exact", "rank_correlation"})
        EXPECT_EQ(at(table, 0, column), Value()) << column;
}

} // namespace
} // namespace lava
