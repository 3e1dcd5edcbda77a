#include "base/error.h"
#include "gui/budget_view.h"
#include "gui/comparison_chart.h"
#include "gui/layer_chart.h"
#include "gui/main_window.h"
#include "gui/text_page.h"
#include "tests/gui/example.h"
#include "tests/temporary_folder.h"

#include <QBarSet>
#include <QCategoryAxis>
#include <QChartView>
#include <QComboBox>
#include <QLabel>
#include <QMenuBar>
#include <QProcess>
#include <QSlider>
#include <QStackedBarSeries>
#include <QTabWidget>
#include <QTableView>
#include <QTest>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lava::gui {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

QSlider& slider(const MainWindow& window)
{
    return *window.findChild<QSlider*>(QStringLiteral("budget_slider"));
}

QTabWidget& tabs(const MainWindow& window)
{
    return *window.findChild<QTabWidget*>(QStringLiteral("tabs"));
}

std::string label(const MainWindow& window, const char* name)
{
    return window.findChild<QLabel*>(QLatin1String(name))->text().toStdString();
}

/// What the policy list shows of a policy.
std::string listed(const MainWindow& window, int policy, int column)
{
    const auto* model = window.findChild<QTableView*>(QStringLiteral("policies"))->model();
    return model->data(model->index(policy, column)).toString().toStdString();
}

nlohmann::json rows_of_cli(const ReplayReport& report)
{
    const TemporaryFolder folder;
    const auto file = folder / "report.h5";
    write_report(file, report);
    QProcess cli;
    cli.start(QStringLiteral(LAVA_ANALYZE),
        {QStringLiteral("table"), QString::fromStdString(file.string()), QStringLiteral("--format"),
            QStringLiteral("json")});
    if (!cli.waitForFinished() || cli.exitCode() != 0)
        throw std::runtime_error("lava-analyze: " + cli.readAllStandardError().toStdString());
    return nlohmann::json::parse(cli.readAllStandardOutput().toStdString());
}

TEST(Window, SliderShowsTheNumbersOfTheCommandLineAtEveryBudget)
{
    const auto report = shared_example();
    const auto rows = rows_of_cli(*report);
    MainWindow window;
    window.show_report(report);
    ASSERT_EQ(slider(window).maximum(), 2);
    for (int step = 0; step <= 2; ++step) {
        slider(window).setValue(step);
        for (int policy = 0; policy < 3; ++policy) {
            const auto& row = rows.at(static_cast<std::size_t>(3 * policy + step));
            EXPECT_EQ(listed(window, policy, RunModel::policy_column), row.at("policy"));
            EXPECT_EQ(listed(window, policy, RunModel::retained_column), row.at("retained").dump());
            EXPECT_EQ(listed(window, policy, RunModel::value_column),
                QString::number(row.at("attn_out_l1_relative").get<double>(), 'g', 3).toStdString());
            window.choose_policy(static_cast<std::size_t>(policy));
            EXPECT_THAT(label(window, "budget_label"), HasSubstr("asked " + row.at("asked").dump()));
            EXPECT_THAT(label(window, "details"),
                HasSubstr(QString::number(row.at("head_l1").get<double>(), 'g', 3).toStdString()));
            EXPECT_THAT(label(window, "details"),
                HasSubstr(QString::number(100 * row.at("survival_needle").get<double>(), 'f', 1).toStdString()));
        }
    }
}

TEST(Window, EveryMeasureOfTheBoxIsAColumnOfTheCommandLine)
{
    const auto report = shared_example();
    const auto rows = rows_of_cli(*report);
    for (const auto& measure : measures(*report)) {
        const auto values = tabulate(*report, measure);
        for (std::size_t policy = 0; policy < 3; ++policy)
            for (std::size_t budget = 0; budget < 3; ++budget)
                EXPECT_EQ(values[policy][budget], rows.at(3 * policy + budget).at(measure.key).get<double>())
                    << measure.key;
    }
}

TEST(Window, ChartsFollowSliderPolicyAndMeasure)
{
    const auto report = shared_example();
    MainWindow window;
    window.show_report(report);
    window.choose_policy(2);
    window.choose_budget(6);
    tabs(window).setCurrentIndex(MainWindow::layers_tab);
    const auto& layers
        = *static_cast<LayerChart*>(static_cast<QChartView*>(tabs(window).widget(MainWindow::layers_tab))->chart());
    const auto& comparison = *static_cast<ComparisonChart*>(
        static_cast<QChartView*>(tabs(window).widget(MainWindow::comparison_tab))->chart());
    for (const std::size_t budget : {0U, 1U}) {
        slider(window).setValue(static_cast<int>(budget));
        ASSERT_EQ(layers.shown_values().size(), 3U);
        for (std::int64_t layer = 0; layer < 3; ++layer)
            EXPECT_EQ(layers.shown_values()[static_cast<std::size_t>(layer)],
                losses({*report, 2, budget}, layer)->attn_out_l1_relative);
    }
    const auto all = measures(*report);
    for (std::size_t measure = 0; measure < all.size(); ++measure) {
        window.choose_measure(measure);
        for (std::size_t policy = 0; policy < 3; ++policy)
            for (std::size_t budget = 0; budget < 3; ++budget)
                EXPECT_EQ(
                    comparison.shown()[policy].points[budget].second, all[measure].of_run({*report, policy, budget}));
    }
}

TEST(Window, ArrowKeysMoveBudgetAndPolicy)
{
    MainWindow window;
    window.show_report(shared_example());
    window.show();
    ASSERT_TRUE(QTest::qWaitForWindowActive(&window));
    EXPECT_EQ(window.cell().policy, 1U) << "snapkv loses least at 12";
    EXPECT_EQ(window.budget(), 12);
    QTest::keyClick(&window, Qt::Key_Left);
    EXPECT_EQ(window.budget(), 6);
    QTest::keyClick(&window, Qt::Key_Left);
    EXPECT_EQ(window.budget(), 6) << "the first budget has none before it";
    QTest::keyClick(&window, Qt::Key_Right);
    EXPECT_EQ(window.budget(), 12);
    QTest::keyClick(&window, Qt::Key_Down);
    EXPECT_EQ(window.cell().policy, 2U);
    QTest::keyClick(&window, Qt::Key_Up);
    QTest::keyClick(&window, Qt::Key_Up);
    EXPECT_EQ(window.cell().policy, 0U);
}

TEST(Window, ClickOnTheMapColoursTheTextByThatHead)
{
    const auto report = shared_example();
    MainWindow window;
    window.show_report(report);
    window.show();
    auto& view = *static_cast<BudgetView*>(tabs(window).widget(MainWindow::budgets_tab));
    const BudgetLayout layout(view.rect(), report->trace.shape, report->trace.seq_len);
    QTest::mouseClick(&view, Qt::LeftButton, {}, layout.cell({2, 1}).center().toPoint());
    tabs(window).setCurrentIndex(MainWindow::text_tab);
    EXPECT_EQ(window.findChild<QComboBox*>(QStringLiteral("layer"))->currentText(), QStringLiteral("2"));
    EXPECT_EQ(window.findChild<QComboBox*>(QStringLiteral("kv_head"))->currentText(), QStringLiteral("1"));
    const auto survival = 100 * span_survival(window.cell(), report->trace.spans[1], HeadId{2, 1});
    EXPECT_THAT(label(window, "text_description"), HasSubstr("KV head 1 of layer 2"));
    EXPECT_THAT(label(window, "text_description"),
        HasSubstr(QString::number(survival, 'f', 1).toStdString() + " % of its entries kept"));
}

/// What an axis of the chart says, from left to right.
QStringList axis_labels(const QChart& chart, Qt::Orientation orientation)
{
    return static_cast<QCategoryAxis*>(chart.axes(orientation).front())->categoriesLabels();
}

TEST(Window, SpeaksOfAPartByTheNumbersOfTheModel)
{
    const auto report = shared_example_of_a_part(); // layers 7, 9 and 10, KV heads 1 and 4
    MainWindow window;
    window.show_report(report);
    Options options;
    options.tab = "text";
    options.layer = 9;
    options.kv_head = 4;
    window.apply(options);
    EXPECT_EQ(window.findChild<QComboBox*>(QStringLiteral("layer"))->currentText(), QStringLiteral("9"));
    EXPECT_EQ(window.findChild<QComboBox*>(QStringLiteral("kv_head"))->currentText(), QStringLiteral("4"));
    EXPECT_THAT(label(window, "text_description"), HasSubstr("KV head 4 of layer 9"));
    const auto survival = 100 * span_survival(window.cell(), report->trace.spans[1], HeadId{1, 1});
    EXPECT_THAT(label(window, "text_description"),
        HasSubstr(QString::number(survival, 'f', 1).toStdString() + " % of its entries kept"));
    tabs(window).setCurrentIndex(MainWindow::layers_tab);
    const auto& layers = *static_cast<QChartView*>(tabs(window).widget(MainWindow::layers_tab))->chart();
    EXPECT_EQ(axis_labels(layers, Qt::Horizontal), (QStringList{"7", "9", "10"}));
    EXPECT_EQ(
        static_cast<QStackedBarSeries*>(layers.series().front())->barSets()[1]->label(), QStringLiteral("KV head 4"));
    options.layer = 8;
    EXPECT_THAT([&] { window.apply(options); },
        testing::ThrowsMessage<Error>(HasSubstr("--layer: expected a number of 7,9-10, found 8")));
    options.layer = 7;
    options.kv_head = 0;
    EXPECT_THAT([&] { window.apply(options); },
        testing::ThrowsMessage<Error>(HasSubstr("--kv-head: expected a number of 1,4, found 0")));
}

std::vector<std::string> items(const QComboBox& box)
{
    std::vector<std::string> texts;
    for (int item = 0; item < box.count(); ++item)
        texts.push_back(box.itemText(item).toStdString());
    return texts;
}

TEST(Window, HeadsAreThoseOfThePolicyShown)
{
    const auto report = shared_example_with_query_heads();
    MainWindow window;
    window.show_report(report);
    const auto& heads = *window.findChild<QComboBox*>(QStringLiteral("kv_head"));
    Options options;
    options.policy = "compose:layout=query_head";
    options.budget = 6;
    options.tab = "text";
    options.layer = 1;
    options.kv_head = 3; // of four query heads, where there are two KV heads
    window.apply(options);
    EXPECT_THAT(items(heads), ElementsAre("all", "0", "1", "2", "3"));
    EXPECT_EQ(heads.currentText(), QStringLiteral("3"));
    EXPECT_THAT(label(window, "text_description"), HasSubstr("Query head 3 of layer 1"));
    for (const auto tab : {MainWindow::budgets_tab, MainWindow::layers_tab, MainWindow::text_tab}) {
        tabs(window).setCurrentIndex(tab);
        window.choose_policy(2);
        EXPECT_FALSE(window.grab().isNull());
        EXPECT_THAT(items(heads), ElementsAre("all", "0", "1"));
        EXPECT_EQ(heads.currentText(), QStringLiteral("1")) << "the KV head that query head 3 reads";
        window.choose_policy(3);
        EXPECT_FALSE(window.grab().isNull());
        EXPECT_THAT(items(heads), ElementsAre("all", "0", "1", "2", "3"));
        EXPECT_EQ(heads.currentText(), QStringLiteral("2")) << "the first query head that reads KV head 1";
        window.choose_heads({1, 3});
    }
    window.choose_policy(1);
    const auto survival = 100 * span_survival(window.cell(), report->trace.spans[1], HeadId{1, 1});
    EXPECT_THAT(label(window, "text_description"), HasSubstr("KV head 1 of layer 1"));
    EXPECT_THAT(label(window, "text_description"),
        HasSubstr(QString::number(survival, 'f', 1).toStdString() + " % of its entries kept"));
    options.policy = "lava";
    EXPECT_THAT([&] { window.apply(options); },
        testing::ThrowsMessage<Error>(HasSubstr("--kv-head: expected a number of 0-1, found 3")));
}

TEST(Window, PolicyWithOneBudgetIsShownThereAndThatIsSaid)
{
    MainWindow window;
    window.show_report(shared_example_with_external(13));
    window.choose_policy(3);
    window.choose_budget(24);
    EXPECT_THAT(label(window, "budget_label"),
        HasSubstr("external:file=kept.json was not replayed there: shown at its only budget, B = 13"));
    for (int tab = 0; tab < tabs(window).count(); ++tab) {
        tabs(window).setCurrentIndex(tab);
        EXPECT_FALSE(window.grab().isNull());
    }
}

TEST(Window, ChartsSayWhyThereAreNoLosses)
{
    MainWindow window;
    window.show_report(shared_example_without_losses());
    EXPECT_EQ(window.findChild<QComboBox*>(QStringLiteral("measure"))->currentData().toString(),
        QStringLiteral("survival_needle"));
    window.choose_measure(0);
    for (const auto tab : {MainWindow::layers_tab, MainWindow::comparison_tab}) {
        tabs(window).setCurrentIndex(tab);
        EXPECT_THAT(static_cast<QChartView*>(tabs(window).widget(tab))->chart()->title().toStdString(),
            HasSubstr("the trace example.h5 was recorded without its loss part"));
    }
}

TEST(Window, IsMadeFor1280By800)
{
    MainWindow window;
    window.show_report(shared_example_with_external(13));
    for (int tab = 0; tab < tabs(window).count(); ++tab) {
        tabs(window).setCurrentIndex(tab);
        EXPECT_EQ(window.grab().size(), QSize(1280, 800)) << tab;
        EXPECT_LE(window.minimumSizeHint().width(), 1280) << tab;
        EXPECT_LE(window.minimumSizeHint().height(), 800) << tab;
    }
}

TEST(Window, WithoutAReportOffersOnlyWhatWorks)
{
    MainWindow window;
    int enabled = 0;
    for (const auto* action : window.findChildren<QAction*>())
        if (!action->isSeparator() && !action->menu() && action->isEnabled() && !action->text().isEmpty())
            ++enabled;
    EXPECT_EQ(enabled, 2) << "open and quit";
    EXPECT_FALSE(window.grab().isNull());
}

TEST(Window, RefusesWhatTheReportDoesNotHave)
{
    MainWindow window;
    window.show_report(shared_example());
    Options options;
    options.policy = "h2o";
    EXPECT_THROW(window.apply(options), Error);
    options = {};
    options.budget = 7;
    EXPECT_THROW(window.apply(options), Error);
    options = {};
    options.measure = "beauty";
    EXPECT_THROW(window.apply(options), Error);
    options = {};
    options.layer = 3;
    EXPECT_THROW(window.apply(options), Error);
    options = {};
    options.policy = "lava";
    options.budget = 24;
    options.tab = "text";
    window.apply(options);
    EXPECT_EQ(window.cell().replay().policy, "lava:window=4") << "any spelling that names it alone";
    EXPECT_EQ(window.budget(), 24);
}

} // namespace

} // namespace lava::gui
