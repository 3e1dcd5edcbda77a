#include "analysis/closed_loop_statistics.h"

#include "analysis/selection.h"
#include "analysis/tables.h"
#include "tests/analysis/example_closed_loop.h"
#include "traces/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

ReplayReport example()
{
    auto report = example_report();
    add_example_closed_loop(report);
    return report;
}

/// What a table says in a column of one of its rows.
Value value_at(const Table& table, std::size_t row, const std::string& name)
{
    const auto column = std::ranges::find(table.columns, name, &Column::name);
    EXPECT_NE(column, table.columns.end()) << name;
    return table.rows[row][static_cast<std::size_t>(column - table.columns.begin())];
}

TEST(ClosedLoopStatistics, AreMeansOverStepsAndRatiosOfSums)
{
    const auto report = example();
    const auto summary = closed_loop({report, 0, 0}); // divergences 2, 1, 0
    ASSERT_TRUE(summary);
    EXPECT_DOUBLE_EQ(summary->kl, 1);
    EXPECT_DOUBLE_EQ(*summary->cross_entropy, (2.5 + 2.25) / 2);
    EXPECT_DOUBLE_EQ(summary->top1_agreement, 2.0 / 3); // 300, 301, 2 where the dense run has 300, 302, 2
    EXPECT_DOUBLE_EQ(summary->drift_l1_relative, 16.0 / 80);
    EXPECT_DOUBLE_EQ(summary->drift_l2_relative, 2.0 / 20);
    EXPECT_DOUBLE_EQ(closed_loop({report, 1, 2})->kl, 0);
    EXPECT_DOUBLE_EQ(closed_loop({report, 1, 2})->top1_agreement, 1);
}

TEST(ClosedLoopStatistics, DriftOfALayerIsRelativeToThatLayer)
{
    auto report = example();
    std::fill_n(report.closed_loop.resid_l2.begin() + 3, 3, 40.0); // layer 1
    EXPECT_DOUBLE_EQ(drift({report, 2, 0}, 0)->l2_relative, 2.0 / 20);
    EXPECT_DOUBLE_EQ(drift({report, 2, 0}, 1)->l2_relative, 2.0 / 40);
    EXPECT_DOUBLE_EQ(drift({report, 2, 1}, 1)->l1_relative, 8.0 / 80);
}

TEST(ClosedLoopStatistics, AnAnswerEndsWhereTheModelEndsIt)
{
    auto report = example();
    EXPECT_EQ(answer({report, 0, 0}), " 4172\xe2\x96");
    EXPECT_EQ(dense_answer(report), " 4172.");
    report.closed_loop.end_ids.clear();
    EXPECT_EQ(dense_answer(report), " 4172.</s>");
    report.closed_loop.token_texts.clear();
    EXPECT_EQ(dense_answer(report), "[7][302][2]");
}

TEST(ClosedLoopStatistics, AReportWithoutAClosedLoopHasNone)
{
    const auto report = example_report();
    EXPECT_FALSE(closed_loop({report, 0, 0}));
    EXPECT_FALSE(drift({report, 0, 0}, 0));
    EXPECT_FALSE(answer({report, 0, 0}));
    const auto table = comparison_table(all_cells(report));
    EXPECT_EQ(value_at(table, 0, "kl"), Value());
    EXPECT_THAT(to_text(table), Not(HasSubstr("kl")));
    EXPECT_THAT([&] { answer_table(all_cells(report)); }, ThrowsMessage<Error>(HasSubstr("the report has no answers")));
}

TEST(ClosedLoopTables, ComparePoliciesByDivergenceAndAnswer)
{
    const auto report = example();
    const auto table = comparison_table(all_cells(report));
    EXPECT_EQ(value_at(table, 0, "kl"), Value(1.0));
    EXPECT_EQ(value_at(table, 0, "cross_entropy"), Value(2.375));
    EXPECT_EQ(value_at(table, 2, "top1_agreement"), Value(1.0));
    EXPECT_EQ(value_at(table, 2, "answer"), Value(std::string(" 4172.")));
    const auto layers = layer_table(all_cells(report));
    EXPECT_EQ(value_at(layers, 0, "drift_l2_relative"), Value(0.1));
}

TEST(ClosedLoopTables, AnswersStandBesideTheDenseRunsOwn)
{
    const auto report = example();
    const auto table = answer_table(all_cells(report));
    ASSERT_EQ(table.rows.size(), 9U);
    EXPECT_EQ(value_at(table, 0, "same_as_dense"), Value(std::string("no")));
    EXPECT_EQ(value_at(table, 2, "same_as_dense"), Value(std::string("yes")));
    EXPECT_EQ(value_at(table, 0, "answer"), Value(std::string(" 4172\xe2\x96")));
    EXPECT_EQ(value_at(table, 0, "dense_answer"), Value(std::string(" 4172.")));
}

} // namespace
} // namespace lava
