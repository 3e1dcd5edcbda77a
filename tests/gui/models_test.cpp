#include "analysis/closed_loop_statistics.h"
#include "base/error.h"
#include "gui/budget_model.h"
#include "gui/budget_picture.h"
#include "gui/colours.h"
#include "gui/curves.h"
#include "gui/details.h"
#include "gui/run_model.h"
#include "gui/token_model.h"
#include "tests/gui/example.h"

#include <QAbstractItemModelTester>
#include <QFont>
#include <QSortFilterProxyModel>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace lava::gui {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string text(const QAbstractItemModel& model, int row, int column, int role = Qt::DisplayRole)
{
    return model.data(model.index(row, column), role).toString().toStdString();
}

Measure measure_named(const ReplayReport& report, const std::string& key)
{
    for (const auto& measure : measures(report))
        if (measure.key == key)
            return measure;
    throw std::runtime_error("no measure " + key);
}

void show(RunModel& model, const SharedReport& report, const std::string& key, std::int64_t budget)
{
    const auto measure = measure_named(*report, key);
    model.set_report(report);
    model.set_measure(measure, tabulate(*report, measure));
    model.set_budget(budget);
}

TEST(BudgetModel, KeepsTheRulesOfItemModelsThroughEveryChange)
{
    BudgetModel model;
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::Fatal);
    model.set_cell(shared_example(), 2, 0, 1);
    const auto report = shared_example();
    for (std::size_t budget = 0; budget < 3; ++budget)
        model.set_cell(report, 1, budget);
    EXPECT_EQ(model.rowCount(), 3);
    EXPECT_EQ(model.columnCount(), 2);
}

TEST(BudgetModel, ShowsWhatEveryHeadRetains)
{
    const auto report = shared_example();
    BudgetModel model;
    for (std::size_t policy = 0; policy < 3; ++policy) {
        for (std::size_t budget = 0; budget < 3; ++budget) {
            model.set_cell(report, policy, budget);
            for (int layer = 0; layer < 3; ++layer)
                for (int head = 0; head < 2; ++head)
                    EXPECT_EQ(model.data(model.index(layer, head), Qt::DisplayRole).toLongLong(),
                        retained({*report, policy, budget}, HeadId{layer, head}));
        }
    }
}

TEST(BudgetModel, TellsNumbersOnHover)
{
    BudgetModel model;
    model.set_cell(shared_example(), 2, 1, 1); // lava at 12: layer 1 retains 17 and 13
    const auto tip = text(model, 1, 0, Qt::ToolTipRole);
    EXPECT_THAT(tip, HasSubstr("layer 1, KV head 0"));
    EXPECT_THAT(tip, HasSubstr("retains 17 of 24 entries (70.8 %)"));
    EXPECT_THAT(tip, HasSubstr("the layer retains 30"));
    EXPECT_THAT(tip, HasSubstr("of span “needle”"));
    EXPECT_THAT(tip, HasSubstr("head_l1 of its query heads  0: "));
}

TEST(BudgetModel, GivesLayersAndHeadsTheNumbersOfTheModel)
{
    BudgetModel model;
    EXPECT_FALSE(model.headerData(0, Qt::Vertical, Qt::DisplayRole).isValid());
    model.set_cell(shared_example_of_a_part(), 2, 1);
    const auto tip = text(model, 1, 1, Qt::ToolTipRole);
    EXPECT_THAT(tip, HasSubstr("layer 9, KV head 4\n"));
    EXPECT_THAT(tip, HasSubstr("head_l1 of its query heads  8: "));
    EXPECT_EQ(model.headerData(2, Qt::Vertical, Qt::DisplayRole).toString(), QStringLiteral("layer 10"));
    EXPECT_EQ(model.headerData(0, Qt::Horizontal, Qt::DisplayRole).toString(), QStringLiteral("KV head 1"));
}

TEST(BudgetModel, ScaleReachesTheLargestHeadAndTwiceTheMean)
{
    BudgetModel model;
    const auto report = shared_example();
    model.set_cell(report, 2, 1); // 10 10 17 13 9 13, mean 12
    EXPECT_EQ(model.scale_end(), 24);
    model.set_cell(report, 0, 2); // 24 everywhere, and no more exist
    EXPECT_EQ(model.scale_end(), 24);
    model.set_cell(report, 0, 0); // 6 everywhere: half-way up, not dark
    EXPECT_EQ(model.data(model.index(0, 0), BudgetModel::share_role).toDouble(), 0.5);
}

TEST(RunModel, KeepsTheRulesOfItemModelsThroughEveryChangeAndSorted)
{
    RunModel model;
    QSortFilterProxyModel sorted;
    sorted.setSourceModel(&model);
    sorted.setSortRole(RunModel::sort_role);
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::Fatal);
    const QAbstractItemModelTester sorted_tester(&sorted, QAbstractItemModelTester::FailureReportingMode::Fatal);
    show(model, shared_example(), "attn_out_l1_relative", 6);
    sorted.sort(RunModel::value_column);
    model.set_budget(12);
    show(model, shared_example_without_losses(), "head_l1", 6);
    EXPECT_EQ(model.rowCount(), 3);
}

TEST(RunModel, ShowsRetainedEntriesAndTheMeasureOfTheStatistics)
{
    const auto report = shared_example();
    RunModel model;
    show(model, report, "attn_out_l2_relative", 12);
    for (int policy = 0; policy < 3; ++policy) {
        const Cell cell{*report, static_cast<std::size_t>(policy), 1};
        EXPECT_EQ(text(model, policy, RunModel::policy_column), cell.replay().policy);
        EXPECT_EQ(text(model, policy, RunModel::retained_column), std::to_string(retained(cell)));
        EXPECT_EQ(model.data(model.index(policy, RunModel::value_column), RunModel::sort_role).toDouble(),
            losses(cell)->ratio.attn_out_l2);
    }
}

TEST(RunModel, ShowsAPolicyWithoutTheBudgetAtItsNearestAndSaysSo)
{
    RunModel model;
    show(model, shared_example_with_external(13), "attn_out_l1_relative", 24);
    EXPECT_TRUE(model.data(model.index(3, 0), Qt::FontRole).value<QFont>().italic());
    EXPECT_FALSE(model.data(model.index(2, 0), Qt::FontRole).value<QFont>().italic());
    EXPECT_EQ(text(model, 3, RunModel::retained_column), "72");
    EXPECT_THAT(
        text(model, 3, 0, Qt::ToolTipRole), HasSubstr("not replayed at B = 24; shown at its nearest budget, B = 13"));
}

TEST(RunModel, LeavesLossesOutWhereTheReportHasNone)
{
    RunModel model;
    show(model, shared_example_without_losses(), "attn_out_l1_relative", 12);
    EXPECT_EQ(text(model, 0, RunModel::value_column), "–");
}

TEST(TokenModel, KeepsTheRulesOfItemModelsThroughEveryChange)
{
    TokenModel model;
    const QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::Fatal);
    model.set_report(shared_example());
    model.set_cell(0, 1, {});
    model.set_cell(2, 0, {1, 1});
    model.set_span(2);
    model.set_report(shared_example_without_losses());
    EXPECT_EQ(model.rowCount(), 24);
}

TEST(TokenModel, SharesCountTheChosenHeadsThatKeepAToken)
{
    const auto report = shared_example();
    TokenModel model;
    model.set_report(report);
    const Cell cell{*report, 2, 0};
    model.set_cell(2, 0, {1, 0});
    const auto kept = kept_positions(cell, {1, 0});
    for (int position = 0; position < 24; ++position)
        EXPECT_EQ(model.share(position), std::count(kept.begin(), kept.end(), position)) << position;
    model.set_cell(2, 0, {});
    double sum = 0;
    for (int position = 0; position < 24; ++position)
        sum += model.share(position) * 6;
    EXPECT_NEAR(sum, static_cast<double>(retained(cell)), 1e-9);
}

TEST(TokenModel, MarksTheNeedle)
{
    TokenModel model;
    model.set_report(shared_example());
    for (int position = 0; position < 24; ++position)
        EXPECT_EQ(model.in_span(position), position >= 8 && position < 17) << position;
    EXPECT_THAT(text(model, 8, 0, Qt::ToolTipRole), HasSubstr("in span “needle”"));
}

TEST(TokenText, ShowsBytesThatAreNoCharacterByThemselves)
{
    EXPECT_EQ(token_text(" 4172"), QStringLiteral(" 4172"));
    EXPECT_EQ(token_text("\xe2\x96\x81"), QStringLiteral("▁"));
    EXPECT_EQ(token_text("\xe2\x96"), QStringLiteral("⟨e2 96⟩"));
    EXPECT_EQ(token_text("\x81"), QStringLiteral("⟨81⟩"));
}

TEST(Grid, StepsThroughBudgetsOfThePoliciesThatHaveSeveral)
{
    EXPECT_THAT(budget_grid(*shared_example_with_external(13)), ElementsAre(6, 12, 24));
    ReplayReport only_external = example_report();
    only_external.policies = {single_budget(only_external, 13)};
    EXPECT_THAT(budget_grid(only_external), ElementsAre(13));
}

TEST(Grid, NearestBudgetOfATieIsTheSmaller)
{
    const auto report = shared_example();
    EXPECT_EQ(nearest_budget(report->policies[0], 9), 0U); // 6 and 12 are three away
    EXPECT_EQ(nearest_budget(report->policies[0], 10), 1U);
    EXPECT_EQ(nearest_budget(report->policies[0], 1000), 2U);
}

TEST(Grid, ReportWithoutPoliciesIsRefused)
{
    ReplayReport report = example_report();
    report.policies.clear();
    EXPECT_THROW(check_shows_something(report), Error);
    report = example_report();
    report.policies[1].budgets.clear();
    EXPECT_THROW(check_shows_something(report), Error);
}

TEST(Measures, AreTheColumnsOfTheStatisticsWithTheNeedleFirstOfTheSpans)
{
    const auto all = measures(*shared_example());
    EXPECT_EQ(all.front().key, "attn_out_l1_relative");
    const auto first_span = std::find_if(all.begin(), all.end(), [](const auto& measure) { return measure.is_share; });
    ASSERT_NE(first_span, all.end());
    EXPECT_EQ(first_span->key, "survival_needle");
    EXPECT_FALSE(measure_named(*shared_example(), "global_eviction_needle").of_layer({*shared_example(), 0, 0}, 0));
}

TEST(Scale, IsLogarithmicForLossesOverDecadesAndLinearForShares)
{
    const std::vector<Curve> wide{{0, "a", {{8, 0.5}, {16, 0.05}, {32, 0}}}};
    const auto scale = value_scale(wide, false);
    EXPECT_TRUE(scale.is_logarithmic);
    EXPECT_LT(scale.begin, 0.05);
    EXPECT_GT(scale.end, 0.5);
    EXPECT_FALSE(scale.shows(0));
    EXPECT_THAT(round_ticks(scale),
        ElementsAre(
            0.05, testing::DoubleNear(0.1, 1e-12), testing::DoubleNear(0.2, 1e-12), testing::DoubleNear(0.5, 1e-12)));
    EXPECT_FALSE(value_scale(wide, true).is_logarithmic);
    EXPECT_FALSE(value_scale({{0, "a", {{8, 0.5}, {16, 0.2}}}}, false).is_logarithmic);
    EXPECT_EQ(value_scale({{0, "full", {{8, 0}, {16, 0}}}}, false).end, 1);
}

TEST(Scale, TicksLeaveRoomForTheirLabels)
{
    EXPECT_THAT(spaced_ticks({10, 11, 100, 1000}, {true, 10, 1000}, 0.1), ElementsAre(10, 100, 1000));
}

TEST(Colours, TellSixteenPoliciesApart)
{
    std::set<std::pair<QRgb, Qt::PenStyle>> seen;
    for (std::size_t policy = 0; policy < 16; ++policy)
        seen.insert({policy_pen(policy).color().rgb(), policy_pen(policy).style()});
    EXPECT_EQ(seen.size(), 16U);
}

TEST(Colours, TextIsReadableOnEveryShade)
{
    const auto luminance
        = [](const QColor& colour) { return 0.299 * colour.red() + 0.587 * colour.green() + 0.114 * colour.blue(); };
    for (int step = 0; step <= 100; ++step) {
        const auto shade = heat_colour(step / 100.0);
        EXPECT_GT(std::abs(luminance(shade) - luminance(readable_on(shade))), 85) << step;
        EXPECT_GT(luminance(token_colour(step / 100.0)), 110) << step; // tokens are written in black
    }
}

TEST(BudgetLayout, FindsTheHeadUnderThePointer)
{
    const ModelShape shape{.num_layers = 30, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .hidden_size = 576};
    const BudgetLayout layout(QRectF(0, 0, 900, 650), shape, 3712);
    for (const HeadId head : {HeadId{0, 0}, HeadId{13, 1}, HeadId{29, 2}}) {
        const auto found = layout.head_at(layout.cell(head).center());
        ASSERT_TRUE(found);
        EXPECT_EQ(found->layer, head.layer);
        EXPECT_EQ(found->kv_head, head.kv_head);
    }
    EXPECT_FALSE(layout.head_at({2, 2}));
    const auto place = layout.position_at({layout.position_x(1000) + 0.01, layout.cell({7, 0}).center().y()});
    ASSERT_TRUE(place);
    EXPECT_EQ(*place, std::pair(std::int64_t{7}, std::int64_t{1000}));
}

TEST(PositionImage, IsDarkWhereEverythingIsKeptAndPaleWhereNothingIs)
{
    const auto image = position_image({{2, 2, 0, 0}, {0, 0, 2, 2}}, 2, 2);
    EXPECT_EQ(image.size(), QSize(2, 2));
    EXPECT_EQ(image.pixelColor(0, 0), heat_colour(1));
    EXPECT_EQ(image.pixelColor(1, 0), heat_colour(0));
    EXPECT_EQ(image.pixelColor(1, 1), heat_colour(1));
}

TEST(Measures, SpeakOfTheClosedLoopWhereTheReportHasOne)
{
    const auto report = shared_example_with_closed_loop();
    const Cell cell{*report, 1, 0};
    const auto summary = *closed_loop(cell);
    EXPECT_EQ(measure_named(*report, "kl").of_run(cell), summary.kl);
    EXPECT_EQ(measure_named(*report, "cross_entropy").of_run(cell), summary.cross_entropy);
    const auto agreement = measure_named(*report, "top1_agreement");
    EXPECT_EQ(agreement.of_run(cell), summary.top1_agreement);
    EXPECT_EQ(agreement.of_layer(cell, 1), std::nullopt);
    EXPECT_TRUE(agreement.is_share);
    const auto drifting = measure_named(*report, "drift_l1_relative");
    EXPECT_EQ(drifting.of_run(cell), summary.drift_l1_relative);
    EXPECT_EQ(drifting.of_layer(cell, 1), drift(cell, 1)->l1_relative);
    EXPECT_THROW(measure_named(*shared_example(), "kl"), std::runtime_error);
}

TEST(Details, SayWhatTheModelAnswersFromThisCacheAndFromAll)
{
    const auto report = shared_example_with_closed_loop();
    const auto evicted = details_html({*report, 1, 0}).toStdString();
    EXPECT_THAT(evicted, HasSubstr(QString::fromStdString(*answer({*report, 1, 0})).toStdString())); // half a letter
    EXPECT_THAT(evicted, HasSubstr("with the whole cache:</i> " + *dense_answer(*report)));
    EXPECT_THAT(details_html({*report, 1, 2}).toStdString(), HasSubstr("as with the whole cache"));
    EXPECT_THAT(details_html({*shared_example(), 1, 0}).toStdString(), Not(HasSubstr("Closed loop")));
}

TEST(Details, SayWhatTheRuleWasGivenAtEqualRetention)
{
    auto report = *shared_example();
    report.policies[2].nominal = report.policies[2].budgets;
    EXPECT_THAT(details_html({report, 2, 1}).toStdString(), Not(HasSubstr("its rule was given")));
    report.policies[2].nominal[1] += 5;
    EXPECT_THAT(details_html({report, 2, 1}).toStdString(), HasSubstr("its rule was given B ="));
}

TEST(Details, GiveTheNumbersOfTheStatistics)
{
    const auto report = shared_example();
    const Cell cell{*report, 2, 0};
    const auto html = details_html(cell).toStdString();
    EXPECT_THAT(html, HasSubstr(QString::number(losses(cell)->ratio.attn_out_l1, 'g', 3).toStdString()));
    EXPECT_THAT(
        html, HasSubstr(QString::number(100 * span_survival(cell, report->trace.spans[1]), 'f', 1).toStdString()));
    EXPECT_THAT(details_html({*shared_example_without_losses(), 0, 0}).toStdString(), HasSubstr("No losses"));
}

} // namespace

} // namespace lava::gui
