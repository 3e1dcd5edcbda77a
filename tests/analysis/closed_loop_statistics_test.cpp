#include "analysis/closed_loop_statistics.h"

#include "analysis/selection.h"
#include "analysis/tables.h"
#include "base/error.h"
#include "tests/analysis/example_closed_loop.h"
#include "tests/analysis/table_cell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

TEST(ClosedLoopStatistics, AreMeansOverStepsAndRatiosOfSums)
{
    const auto report = example_with_closed_loop();
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
    auto report = example_with_closed_loop();
    std::fill_n(report.closed_loop.resid_l2.begin() + 3, 3, 40.0); // layer 1
    EXPECT_DOUBLE_EQ(drift({report, 2, 0}, 0)->l2_relative, 2.0 / 20);
    EXPECT_DOUBLE_EQ(drift({report, 2, 0}, 1)->l2_relative, 2.0 / 40);
    EXPECT_DOUBLE_EQ(drift({report, 2, 1}, 1)->l1_relative, 8.0 / 80);
}

TEST(ClosedLoopStatistics, AnAnswerEndsWhereTheModelEndsIt)
{
    auto report = example_with_closed_loop();
    EXPECT_EQ(answer({report, 0, 0}), " 4172\xe2\x96");
    EXPECT_EQ(dense_answer(report), " 4172.");
    report.closed_loop.end_ids.clear();
    EXPECT_EQ(dense_answer(report), " 4172.</s>");
    report.closed_loop.token_texts.clear();
    EXPECT_EQ(dense_answer(report), "[7][302][2]");
}

/// The example, its second token ending the answer.
ReplayReport ended_example()
{
    auto report = example_with_closed_loop();
    report.closed_loop.end_ids = {300};
    for (std::size_t i = 0; i < report.closed_loop.resid_l1.size(); ++i)
        report.closed_loop.resid_l1[i] = i % 3 == 0 ? 40 : 1000;
    return report;
}

TEST(ClosedLoopStatistics, WhatLiesBehindTheEndOfTheAnswerDoesNotCount)
{
    const auto report = ended_example();
    EXPECT_EQ(answer_steps(report), 1); // the one that predicts the end; the end's own and what follows are behind it
    const Cell cell{report, 0, 0};
    const auto summary = closed_loop(cell);
    ASSERT_TRUE(summary);
    EXPECT_DOUBLE_EQ(summary->kl, 2);
    EXPECT_DOUBLE_EQ(*summary->cross_entropy, 2.5);
    EXPECT_DOUBLE_EQ(summary->top1_agreement, 1);
    EXPECT_DOUBLE_EQ(summary->drift_l1_relative, 16.0 / 40);
    EXPECT_DOUBLE_EQ(drift(cell, 1)->l1_relative, 16.0 / 40);
    EXPECT_DOUBLE_EQ(*kl_of_all_steps(cell), 1);
    EXPECT_EQ(closed_loop_text(report), ", closed loop over the answer's 1 of 3 steps");
    EXPECT_EQ(closed_loop_text(example_with_closed_loop()), ", closed loop over 3 steps");
    const auto table = comparison_table(all_cells(report));
    EXPECT_EQ(at(table, 0, "kl"), Value(2.0));
    EXPECT_EQ(at(table, 0, "kl_all_steps"), Value(1.0));
    EXPECT_EQ(at(table, 0, "answer_steps"), Value(std::int64_t{1}));
}

TEST(ClosedLoopStatistics, AnEmptyAnswerHasNoMeans)
{
    auto report = example_with_closed_loop();
    report.closed_loop.end_ids = {7};
    EXPECT_EQ(answer_steps(report), 0);
    EXPECT_FALSE(closed_loop({report, 0, 0}));
    EXPECT_FALSE(drift({report, 0, 0}, 0));
    EXPECT_EQ(exact({report, 0, 0}), true); // nothing is what is expected
    EXPECT_EQ(at(comparison_table(all_cells(report)), 0, "kl"), Value());
}

TEST(ClosedLoopStatistics, AReferenceIsTheAnswerAndWhatFollowsItIsNot)
{
    auto report = example_with_closed_loop();
    report.trace.continuation = "reference"; // of 2 tokens; the third is what the dense run goes on with
    EXPECT_EQ(answer_steps(report), 2);
    EXPECT_DOUBLE_EQ(closed_loop({report, 0, 0})->kl, 1.5);
    EXPECT_DOUBLE_EQ(*closed_loop({report, 0, 0})->cross_entropy, 2.5);
    EXPECT_EQ(exact({report, 0, 0}), true);
}

TEST(ClosedLoopStatistics, AnExactAnswerStartsWithWhatThePromptLeadsTo)
{
    auto report = example_with_closed_loop();
    EXPECT_EQ(exact({report, 0, 0}), false); // 300, 301 where the answer goes on 300, 302
    EXPECT_EQ(exact({report, 0, 2}), true);
    EXPECT_EQ(dense_exact(report), true);
    report.closed_loop.next_id = 8;
    EXPECT_EQ(exact({report, 0, 2}), false);
    EXPECT_EQ(dense_exact(report), false);
}

TEST(ClosedLoopStatistics, TheTokenThatEndsAnAnswerIsPartOfIt)
{
    auto report = example_with_closed_loop();
    report.closed_loop.end_ids = {302};
    EXPECT_EQ(answer_steps(report), 2);
    EXPECT_EQ(exact({report, 0, 0}), false); // goes on where the answer ends
    report.closed_loop.end_ids = {300};
    EXPECT_EQ(exact({report, 0, 0}), true);
}

TEST(ClosedLoopStatistics, AnOlderReportTellsTheFirstTokenWhereItCan)
{
    auto report = example_with_closed_loop();
    report.closed_loop.next_id = -1;
    EXPECT_EQ(next_id(report), 7); // its own answer starts with it
    report.closed_loop.generated_ids.clear();
    EXPECT_EQ(next_id(report), 7); // a greedy run
    report.trace.continuation = "reference";
    EXPECT_EQ(next_id(report), std::nullopt);
    EXPECT_EQ(exact({report, 0, 2}), std::nullopt);
    EXPECT_EQ(dense_exact(report), std::nullopt);
}

TEST(ClosedLoopStatistics, AnswersOfThePromptsOwnTokenAloneAreNotCompared)
{
    auto report = example_with_closed_loop();
    EXPECT_EQ(same_as_dense({report, 0, 0}), false);
    EXPECT_EQ(same_as_dense({report, 0, 2}), true);
    report.closed_loop.end_ids = {7}; // which all start with, whatever is evicted
    EXPECT_EQ(same_as_dense({report, 0, 0}), std::nullopt);
    report.closed_loop.end_ids = {};
    report.closed_loop.generated_ids = {7};
    for (auto& policy : report.policies)
        policy.closed_loop.generated_ids = {7, 7, 7};
    EXPECT_EQ(at(answer_table(all_cells(report)), 0, "same_as_dense"), Value());
}

TEST(ClosedLoopStatistics, AReportWithoutAClosedLoopHasNone)
{
    const auto report = example_report();
    EXPECT_FALSE(closed_loop({report, 0, 0}));
    EXPECT_FALSE(drift({report, 0, 0}, 0));
    EXPECT_FALSE(answer({report, 0, 0}));
    EXPECT_FALSE(exact({report, 0, 0}));
    EXPECT_FALSE(kl_of_all_steps({report, 0, 0}));
    EXPECT_FALSE(same_as_dense({report, 0, 0}));
    EXPECT_EQ(closed_loop_text(report), "");
    const auto table = comparison_table(all_cells(report));
    EXPECT_EQ(at(table, 0, "kl"), Value());
    EXPECT_THAT(to_text(table), Not(HasSubstr("kl")));
    EXPECT_THAT([&] { answer_table(all_cells(report)); }, ThrowsMessage<Error>(HasSubstr("the report has no answers")));
}

TEST(ClosedLoopTables, ComparePoliciesByDivergenceAndAnswer)
{
    const auto report = example_with_closed_loop();
    const auto table = comparison_table(all_cells(report));
    EXPECT_EQ(at(table, 0, "kl"), Value(1.0));
    EXPECT_EQ(at(table, 0, "cross_entropy"), Value(2.375));
    EXPECT_EQ(at(table, 2, "top1_agreement"), Value(1.0));
    EXPECT_EQ(at(table, 2, "answer"), Value(std::string(" 4172.")));
    const auto layers = layer_table(all_cells(report));
    EXPECT_EQ(at(layers, 0, "drift_l2_relative"), Value(0.1));
}

TEST(ClosedLoopTables, AnswersStandBesideTheDenseRunsOwn)
{
    const auto report = example_with_closed_loop();
    const auto table = answer_table(all_cells(report));
    ASSERT_EQ(table.rows.size(), 9U);
    EXPECT_EQ(at(table, 0, "same_as_dense"), Value(std::string("no")));
    EXPECT_EQ(at(table, 2, "same_as_dense"), Value(std::string("yes")));
    EXPECT_EQ(at(table, 0, "answer"), Value(std::string(" 4172\xe2\x96")));
    EXPECT_EQ(at(table, 0, "dense_answer"), Value(std::string(" 4172.")));
}

} // namespace
} // namespace lava
