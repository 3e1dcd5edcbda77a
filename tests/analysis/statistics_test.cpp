#include "analysis/statistics.h"

#include "base/error.h"
#include "tests/analysis/example_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::ElementsAre;

constexpr double rounding = 1e-15; // of the double sums below

/// Two layers, two query heads on one KV head, four tokens, two steps; budget 2 with losses worked out by hand, and
/// budget 4, which keeps everything. Layer 0 keeps tokens 0 and 3, layer 1 keeps 2 and 3.
ReplayReport small_report()
{
    ReplayReport report;
    report.trace.shape = {.num_layers = 2, .num_heads = 2, .num_kv_heads = 1, .head_dim = 1, .hidden_size = 2};
    report.trace.seq_len = 4;
    report.trace.eval_len = 2;
    report.trace.spans = {{"start", 0, 2}, {"end", 2, 4}, {"nothing", 1, 1}};
    report.norms.head_output_l1 = {1, 1, 2, 4, 1, 1, 1, 1};
    report.norms.head_output_l2 = {0.5, 0.5, 1, 2, 0.5, 0.5, 0.5, 0.5};
    report.norms.attn_out_l1 = {4, 4, 10, 2};
    report.norms.attn_out_l2 = {2, 2, 5, 1};
    PolicyReplay replay;
    replay.policy = replay.name = "snapkv";
    replay.budgets = {2, 4};
    replay.asked = {4, 8};
    replay.granted = {4, 8};
    replay.ranking = {3, 0, 1, 2, 3, 2, 1, 0};
    replay.counts = {2, 2, 4, 4};
    replay.head_l1 = {0.5, 0.25, 1, 0.25, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    replay.head_output_l1 = {0.5, 0.5, 1, 1, 0.25, 0.25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    replay.head_output_l2 = {0.25, 0.25, 0.5, 0.5, 0, 0, 0, 0.75, 0, 0, 0, 0, 0, 0, 0, 0};
    replay.attn_out_l1 = {1, 3, 2, 2, 0, 0, 0, 0};
    replay.attn_out_l2 = {0.5, 1.5, 1, 1, 0, 0, 0, 0};
    replay.bound_lava = {8, 8, 8, 8, 0, 0, 0, 0};
    replay.bound_adakv = {4, 4, 2, 6, 0, 0, 0, 0};
    replay.bound_projected = {1, 3, 3, 3, 0, 0, 0, 0};
    report.policies.push_back(replay);
    return report;
}

TEST(Retention, IsCountedPerHeadLayerAndRun)
{
    const ReplayReport report = example_report();
    const Cell cell{report, 2, 0}; // lava at budget 6: 5 5 | 9 7 | 4 6
    EXPECT_EQ(retained(cell, HeadId{1, 0}), 9);
    EXPECT_EQ(retained(cell, HeadId{2, 1}), 6);
    EXPECT_EQ(retained(cell, 1), 16);
    EXPECT_EQ(retained(cell), 36);
    EXPECT_EQ(retained(Cell{report, 2, 1}, HeadId{1, 0}), 17);
}

TEST(Retention, KeepsTheFrontOfTheRanking)
{
    const ReplayReport report = small_report();
    EXPECT_THAT(kept_positions(Cell{report, 0, 0}, HeadId{0, 0}), ElementsAre(0, 3));
    EXPECT_THAT(kept_positions(Cell{report, 0, 0}, HeadId{1, 0}), ElementsAre(2, 3));
    EXPECT_THAT(kept_positions(Cell{report, 0, 1}, HeadId{1, 0}), ElementsAre(0, 1, 2, 3));
}

TEST(Losses, AreMeansOverStepsLayersAndHeads)
{
    const ReplayReport report = small_report();
    const LossSummary run = losses(Cell{report, 0, 0}).value();
    EXPECT_DOUBLE_EQ(run.head_l1, 4.0 / 8);
    EXPECT_DOUBLE_EQ(run.head_output_l1, 3.5 / 8);
    EXPECT_DOUBLE_EQ(run.head_output_l2, 2.25 / 8);
    EXPECT_DOUBLE_EQ(run.attn_out_l1, 8.0 / 4);
    EXPECT_DOUBLE_EQ(run.attn_out_l2, 4.0 / 4);
    EXPECT_DOUBLE_EQ(run.bound_lava, 32.0 / 4);
    EXPECT_DOUBLE_EQ(run.bound_adakv, 16.0 / 4);
    EXPECT_DOUBLE_EQ(run.bound_projected, 10.0 / 4);
}

TEST(Losses, AreRelativeAsRatiosOfSums)
{
    const ReplayReport report = small_report();
    const LossSummary run = losses(Cell{report, 0, 0}).value();
    EXPECT_NEAR(run.attn_out_l1_relative, 8.0 / 20, rounding); // the mean of the ratios would be .55
    EXPECT_NEAR(run.attn_out_l2_relative, 4.0 / 10, rounding);
    EXPECT_NEAR(run.head_output_l1_relative, 3.5 / 12, rounding);
    EXPECT_NEAR(run.head_output_l2_relative, 2.25 / 6, rounding);
    EXPECT_NEAR(run.tightness_lava, 8.0 / 32, rounding);
    EXPECT_NEAR(run.tightness_adakv, 8.0 / 16, rounding);
    EXPECT_NEAR(run.tightness_projected, 8.0 / 10, rounding);
}

TEST(Losses, OfALayerLookAtThatLayerAlone)
{
    const ReplayReport report = small_report();
    const LossSummary second = losses(Cell{report, 0, 0}, 1).value();
    EXPECT_DOUBLE_EQ(second.head_l1, 2.0 / 4);
    EXPECT_DOUBLE_EQ(second.head_output_l1_relative, 0.5 / 4);
    EXPECT_DOUBLE_EQ(second.head_output_l2_relative, 0.75 / 2);
    EXPECT_DOUBLE_EQ(second.attn_out_l1, 2);
    EXPECT_NEAR(second.attn_out_l1_relative, 4.0 / 12, rounding);
    EXPECT_NEAR(second.attn_out_l2_relative, 2.0 / 6, rounding);
    EXPECT_DOUBLE_EQ(second.bound_adakv, 4);
    EXPECT_NEAR(second.tightness_projected, 4.0 / 6, rounding);
}

TEST(Losses, OfAQueryHeadLookAtThatHeadAlone)
{
    const ReplayReport report = small_report();
    const LossSummary head = head_losses(Cell{report, 0, 0}, 0, 1).value();
    EXPECT_DOUBLE_EQ(head.head_l1, 1.25 / 2);
    EXPECT_DOUBLE_EQ(head.head_output_l1, 2.0 / 2);
    EXPECT_NEAR(head.head_output_l1_relative, 2.0 / 6, rounding);
    EXPECT_NEAR(head.head_output_l2_relative, 1.0 / 3, rounding);
    EXPECT_EQ(head.attn_out_l1, 0);
}

TEST(Losses, OfAFullBudgetAreZeroAndItsBoundsTight)
{
    const ReplayReport report = small_report();
    const LossSummary full = losses(Cell{report, 0, 1}).value();
    EXPECT_EQ(full.attn_out_l1, 0);
    EXPECT_EQ(full.attn_out_l1_relative, 0);
    EXPECT_EQ(full.tightness_lava, 1);
    EXPECT_EQ(full.tightness_adakv, 1);
    EXPECT_EQ(full.tightness_projected, 1);
}

TEST(Losses, AreRelativeToNothingWithoutBecomingNaN)
{
    ReplayReport report = small_report();
    report.norms.attn_out_l1 = {0, 0, 0, 0};
    EXPECT_EQ(losses(Cell{report, 0, 1}).value().attn_out_l1_relative, 0);
}

TEST(Losses, AreNothingWhereTheTraceHadNone)
{
    const ReplayReport report = example_report_without_losses();
    EXPECT_FALSE(losses(Cell{report, 0, 0}).has_value());
    EXPECT_FALSE(losses(Cell{report, 0, 0}, 1).has_value());
    EXPECT_FALSE(head_losses(Cell{report, 0, 0}, 1, 2).has_value());
}

TEST(Spans, SurviveAsKeptEntriesOfAllTheirEntries)
{
    const ReplayReport report = small_report();
    const Cell cell{report, 0, 0};
    const Span& start = report.trace.spans[0];
    const Span& end = report.trace.spans[1];
    EXPECT_DOUBLE_EQ(span_survival(cell, start), 1.0 / 4); // token 0 in layer 0
    EXPECT_DOUBLE_EQ(span_survival(cell, end), 3.0 / 4); // token 3 twice, token 2 in layer 1
    EXPECT_DOUBLE_EQ(span_survival(cell, start, 0), 1.0 / 2);
    EXPECT_DOUBLE_EQ(span_survival(cell, start, 1), 0);
    EXPECT_DOUBLE_EQ(span_survival(cell, end, HeadId{1, 0}), 1);
    EXPECT_DOUBLE_EQ(span_survival(Cell{report, 0, 1}, start), 1);
}

TEST(Spans, AreGloballyEvictedWhereNoHeadKeepsAToken)
{
    const ReplayReport report = small_report();
    const Cell cell{report, 0, 0};
    EXPECT_DOUBLE_EQ(global_eviction_ratio(cell, report.trace.spans[0]), 1.0 / 2); // token 1
    EXPECT_DOUBLE_EQ(global_eviction_ratio(cell, report.trace.spans[1]), 0); // token 2 stays in layer 1
    EXPECT_DOUBLE_EQ(span_fate(cell, report.trace.spans[1], 0).global_eviction, 1.0 / 2);
    EXPECT_DOUBLE_EQ(span_fate(cell, report.trace.spans[0], HeadId{1, 0}).global_eviction, 1);
}

TEST(Spans, OfNoTokensAreNeitherKeptNorEvicted)
{
    const ReplayReport report = small_report();
    const SpanFate fate = span_fate(Cell{report, 0, 0}, report.trace.spans[2]);
    EXPECT_EQ(fate.survival, 0);
    EXPECT_EQ(fate.global_eviction, 0);
}

TEST(KeptSets, RefuseAHeadOrLayerThatThePolicyDoesNotHave)
{
    ReplayReport report = small_report();
    report.file = "report.h5";
    const Cell cell{report, 0, 0};
    const auto refuses = [](const auto& read, const char* message) {
        EXPECT_THAT(read, testing::ThrowsMessage<Error>(testing::HasSubstr(message)));
    };
    refuses([&] { retained(cell, HeadId{1, 1}); }, "report.h5: snapkv: expected heads 0 to 0, found 1");
    refuses([&] { kept_positions(cell, {0, -1}); }, "expected heads 0 to 0, found -1");
    refuses([&] { span_survival(cell, report.trace.spans[0], HeadId{0, 7}); }, "expected heads 0 to 0, found 7");
    refuses([&] { kept_positions(cell, {2, 0}); }, "expected layers 0 to 1, found 2");
    refuses([&] { retained(cell, 2); }, "expected layers 0 to 1, found 2");
    refuses([&] { span_survival(cell, report.trace.spans[0], -1); }, "expected layers 0 to 1, found -1");
    refuses([&] { losses(cell, 2); }, "expected layers 0 to 1, found 2");
    refuses([&] { head_losses(cell, 0, 2); }, "expected query heads 0 to 1, found 2");
    refuses([&] { report.ranking(0, 0, 5); }, "found layer 5");
    refuses([&] { report.ranking(0, 2, 0); }, "and budget 2");
}

TEST(CorrespondingHead, IsTheOneThatReadsOrIsRead)
{
    ReplayReport report = example_report(); // four query heads, two KV heads
    report.policies[1].cache_heads = 4;
    const Cell by_kv_head{report, 0, 0};
    const Cell by_query_head{report, 1, 0};
    EXPECT_EQ(corresponding_head(by_query_head, by_kv_head, 3), 1);
    EXPECT_EQ(corresponding_head(by_kv_head, by_query_head, 1), 2);
    EXPECT_EQ(corresponding_head(by_query_head, by_query_head, 3), 3);
}

} // namespace
} // namespace lava
