#include "analysis/summary.h"

#include "analysis/selection.h"
#include "tests/analysis/example_report.h"

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

Value at(const Table& table, std::size_t row, const std::string& name)
{
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        if (table.columns[i].name == name)
            return table.rows.at(row)[i];
    }
    return "no column " + name;
}

TEST(Summary, AveragesReportsAndCountsExactAnswers)
{
    const std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 8, 1})};
    const Table table = summary_table(select_cells(reports, {}), "");
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
    const double loss = losses(Cell{reports[0], 2, 0})->attn_out_l1_relative;
    EXPECT_DOUBLE_EQ(std::get<double>(at(table, 2, "attn_out_l1_relative")), loss);
    EXPECT_TRUE(std::holds_alternative<double>(at(table, 0, "rank_correlation")));
}

TEST(Summary, AnAnswerWhoseFirstTokenIsWrongIsNotExact)
{
    std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 9, 5})};
    reports[0].closed_loop.next_id = 7;
    reports[1].closed_loop.next_id = 6; // the prompt leads elsewhere
    const Table table = summary_table(select_cells(reports, {}), "");
    EXPECT_EQ(at(table, 2, "exact"), Value(std::int64_t{1}));
    EXPECT_EQ(at(table, 2, "dense_exact"), Value(std::int64_t{1}));
}

TEST(Summary, LeavesExactAnswersOpenWhereTheFirstTokenIsNotKnown)
{
    std::vector<ReplayReport> reports = {answered_report({8, 9, 5}), answered_report({8, 9, 5})};
    reports[1].trace.continuation = "reference";
    reports[1].trace.eval_len = 3;
    const Table table = summary_table(select_cells(reports, {}), "");
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
    const Table table = summary_table(select_cells(reports, {{"lava"}, {6}, "retained"}), "retained");
    ASSERT_EQ(table.rows.size(), 1U);
    EXPECT_EQ(at(table, 0, "match"), Value("retained"));
    EXPECT_EQ(at(table, 0, "reports"), Value(std::int64_t{2}));
    EXPECT_EQ(summary_table(select_cells(reports, {{"lava"}, {6}, ""}), "").rows.size(), 2U);
}

TEST(Summary, LeavesOpenWhatReportsLack)
{
    const std::vector<ReplayReport> reports = {example_report_without_losses()};
    const Table table = summary_table(select_cells(reports, {}), "");
    for (const char* column :
        {"attn_out_l1_relative", "kl", "top1_agreement", "exact", "dense_exact", "rank_correlation"})
        EXPECT_EQ(at(table, 0, column), Value()) << column;
}

} // namespace
} // namespace lava
