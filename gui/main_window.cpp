#include "gui/main_window.h"

#include "gui/budget_view.h"
#include "gui/comparison_chart.h"
#include "gui/details.h"
#include "gui/layer_chart.h"
#include "gui/text_page.h"

#include "base/error.h"
#include "traces/recorded_part.h"

#include <QApplication>
#include <QChartView>
#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QSlider>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QStatusBar>
#include <QTabWidget>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>

namespace lava::gui {

namespace {

/// The policy to begin with: the one that loses least (without losses: the first) among those that evict anything at
/// the budget, since a map of everything kept shows nothing.
std::size_t policy_to_show(const ReplayReport& report, std::int64_t budget)
{
    const auto& shape = report.trace.shape;
    std::optional<std::size_t> best;
    double least = 0;
    for (std::size_t policy = 0; policy < report.policies.size(); ++policy) {
        const auto cell = cell_near(report, policy, budget);
        const auto loss = losses(cell).value_or(LossSummary{}).ratio.attn_out_l1;
        const auto everything = report.trace.seq_len * shape.num_layers * cell.cache_heads();
        if (retained(cell) < everything && (!best || loss < least)) {
            best = policy;
            least = loss;
        }
    }
    return best.value_or(0);
}

QString status_text(const ReplayReport& report)
{
    const auto& trace = report.trace;
    const auto part = is_part(trace)
        ? QStringLiteral("   ·   of the model only %1").arg(QString::fromStdString(part_text(trace)))
        : QString();
    const auto at = trace.attn_out_at.empty()
        ? QString()
        : QStringLiteral("   ·   attention outputs %1").arg(QString::fromStdString(trace.attn_out_at));
    return QStringLiteral("%1   ·   %2 prompt tokens   ·   %3 layers × %4 KV heads (%5 query heads)%6   ·   trace %7")
        .arg(trace.model_name.empty() ? QStringLiteral("unnamed model") : QString::fromStdString(trace.model_name),
            format_count(trace.seq_len))
        .arg(trace.shape.num_layers)
        .arg(trace.shape.num_kv_heads)
        .arg(trace.shape.num_heads)
        .arg(QString(part + at), QString::fromStdString(trace.file));
}

QChartView* chart_view(QChart* chart)
{
    auto* view = new QChartView(chart);
    view->setRenderHint(QPainter::Antialiasing);
    return view;
}

} // namespace

MainWindow::MainWindow(QWidget* parent)
    : QMainWindow(parent)
{
    auto* centre = new QWidget;
    auto* column = new QVBoxLayout(centre);
    auto* split = new QSplitter(Qt::Horizontal);
    split->addWidget(make_left());
    split->addWidget(make_tabs());
    split->setStretchFactor(1, 1);
    split->setSizes({346, 920});
    column->addWidget(make_top());
    column->addWidget(split, 1);
    column->setContentsMargins(8, 8, 8, 4);
    setCentralWidget(centre);
    status_ = new QLabel(QStringLiteral("No report. Open one that lava-replay wrote: Ctrl+O"));
    status_->setTextFormat(Qt::PlainText);
    statusBar()->addWidget(status_, 1);
    make_menus();
    setWindowTitle(QStringLiteral("lava-gui"));
    resize(1280, 800);
    centre->setEnabled(false);
}

QWidget* MainWindow::make_top()
{
    slider_ = new QSlider(Qt::Horizontal);
    slider_->setObjectName(QStringLiteral("budget_slider"));
    slider_->setPageStep(1);
    slider_->setTickPosition(QSlider::TicksBelow);
    slider_->setToolTip(QStringLiteral("Budget, over those that were replayed (← →)"));
    budget_label_ = new QLabel;
    budget_label_->setObjectName(QStringLiteral("budget_label"));
    budget_label_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred); // a long name must not widen the window
    measure_box_ = new QComboBox;
    measure_box_->setObjectName(QStringLiteral("measure"));
    measure_box_->setToolTip(QStringLiteral("What the list and the charts show"));
    auto* top = new QWidget;
    auto* column = new QVBoxLayout(top);
    auto* row = new QHBoxLayout;
    column->setContentsMargins(0, 0, 0, 0);
    column->addLayout(row);
    column->addWidget(budget_label_);
    row->addWidget(new QLabel(QStringLiteral("Budget")));
    row->addWidget(slider_, 1);
    row->addSpacing(16);
    row->addWidget(new QLabel(QStringLiteral("Measure")));
    row->addWidget(measure_box_);
    connect(slider_, &QSlider::valueChanged, this, &MainWindow::set_budget_step);
    connect(measure_box_, &QComboBox::currentIndexChanged, this, [this](int index) {
        if (index >= 0)
            choose_measure(static_cast<std::size_t>(index));
    });
    return top;
}

void MainWindow::make_run_list()
{
    sorted_runs_ = new QSortFilterProxyModel(this);
    sorted_runs_->setSourceModel(&run_model_);
    sorted_runs_->setSortRole(RunModel::sort_role);
    run_list_ = new QTableView;
    run_list_->setObjectName(QStringLiteral("policies"));
    run_list_->setModel(sorted_runs_);
    run_list_->setSelectionBehavior(QAbstractItemView::SelectRows);
    run_list_->setSelectionMode(QAbstractItemView::SingleSelection);
    run_list_->setShowGrid(false);
    run_list_->setIconSize({26, 14});
    run_list_->setTextElideMode(Qt::ElideRight);
    run_list_->setWordWrap(false);
    run_list_->verticalHeader()->hide();
    run_list_->verticalHeader()->setDefaultSectionSize(23);
    run_list_->horizontalHeader()->setSectionResizeMode(RunModel::policy_column, QHeaderView::Stretch);
    run_list_->horizontalHeader()->resizeSection(RunModel::retained_column, 82);
    run_list_->horizontalHeader()->resizeSection(RunModel::value_column, 74);
    run_list_->sortByColumn(RunModel::policy_column, Qt::AscendingOrder);
    run_list_->setSortingEnabled(true);
}

QWidget* MainWindow::make_left()
{
    make_run_list();
    connect(run_list_->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& row) {
        if (row.isValid())
            choose_policy(static_cast<std::size_t>(sorted_runs_->mapToSource(row).row()));
    });
    details_ = new QLabel;
    details_->setObjectName(QStringLiteral("details"));
    details_->setAlignment(Qt::AlignTop | Qt::AlignLeft);
    details_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    details_->setMargin(6);
    details_->setWordWrap(true);
    auto* scroll = new QScrollArea;
    scroll->setWidget(details_);
    scroll->setWidgetResizable(true);
    auto* left = new QSplitter(Qt::Vertical);
    left->addWidget(run_list_);
    left->addWidget(scroll);
    left->setSizes({400, 300});
    return left;
}

QWidget* MainWindow::make_tabs()
{
    budget_view_ = new BudgetView(budget_model_);
    layer_chart_ = new LayerChart;
    comparison_chart_ = new ComparisonChart;
    text_page_ = new TextPage(token_model_);
    tabs_ = new QTabWidget;
    tabs_->setObjectName(QStringLiteral("tabs"));
    tabs_->addTab(budget_view_, QStringLiteral("Budgets"));
    tabs_->addTab(chart_view(layer_chart_), QStringLiteral("Layers"));
    tabs_->addTab(chart_view(comparison_chart_), QStringLiteral("Comparison"));
    tabs_->addTab(text_page_, QStringLiteral("Text"));
    connect(tabs_, &QTabWidget::currentChanged, this, &MainWindow::refresh_tab);
    connect(budget_view_, &BudgetView::head_chosen, this, [this](HeadId head) {
        choose_heads({head.layer, head.kv_head});
    });
    connect(comparison_chart_, &ComparisonChart::policy_chosen, this, &MainWindow::choose_policy);
    connect(text_page_, &TextPage::heads_chosen, this, &MainWindow::choose_heads);
    connect(text_page_, &TextPage::span_chosen, this, &MainWindow::choose_span);
    return tabs_;
}

void MainWindow::show_report(SharedReport report)
{
    check_shows_something(*report);
    report_ = std::move(report);
    start_report();
}

void MainWindow::start_report()
{
    grid_ = budget_grid(*report_);
    budget_step_ = grid_.size() / 2;
    policy_ = policy_to_show(*report_, budget());
    span_ = span_to_mark(report_->trace);
    measures_ = measures(*report_);
    heads_ = {};
    head_policy_ = policy_;
    const QSignalBlocker slider_blocker(slider_), measure_blocker(measure_box_),
        list_blocker(run_list_->selectionModel());
    slider_->setRange(0, static_cast<int>(grid_.size()) - 1);
    slider_->setValue(static_cast<int>(budget_step_));
    measure_box_->clear();
    for (const auto& measure : measures_)
        measure_box_->addItem(measure.label, QString::fromStdString(measure.key));
    run_model_.set_report(report_);
    token_model_.set_report(report_);
    text_page_->show_report(*report_, span_);
    status_->setText(status_text(*report_));
    setWindowTitle(QStringLiteral("%1 – lava-gui").arg(QString::fromStdString(report_->file)));
    centralWidget()->setEnabled(true);
    for (auto* action : report_actions_)
        action->setEnabled(true);
    const auto has_value
        = [this](const Measure& measure) { return report_->has_losses() || measure.part != MeasureOf::losses; };
    const auto first = std::find_if(measures_.begin(), measures_.end(), has_value);
    choose_measure(first == measures_.end() ? 0 : static_cast<std::size_t>(first - measures_.begin()));
}

void MainWindow::choose_policy(std::size_t policy)
{
    policy_ = policy;
    refresh();
}

void MainWindow::choose_budget(std::int64_t budget)
{
    const auto nearer
        = [budget](std::int64_t a, std::int64_t b) { return std::abs(a - budget) < std::abs(b - budget); };
    slider_->setValue(static_cast<int>(std::min_element(grid_.begin(), grid_.end(), nearer) - grid_.begin()));
}

void MainWindow::set_budget_step(int step)
{
    budget_step_ = static_cast<std::size_t>(step);
    refresh();
}

void MainWindow::choose_measure(std::size_t measure)
{
    measure_ = measure;
    values_ = tabulate(*report_, measures_[measure]);
    run_model_.set_measure(measures_[measure], values_);
    comparison_chart_->show_curves(curves(*report_, values_), measures_[measure], missing_losses(*report_));
    const QSignalBlocker blocker(measure_box_);
    measure_box_->setCurrentIndex(static_cast<int>(measure));
    refresh();
}

void MainWindow::choose_heads(const HeadChoice& choice)
{
    heads_ = choice;
    head_policy_ = policy_;
    follow_heads();
    refresh_tab();
}

void MainWindow::choose_span(std::size_t span)
{
    span_ = span;
    token_model_.set_span(span);
    refresh_tab();
    text_page_->go_to_span();
}

void MainWindow::follow_heads()
{
    const auto before = cell_near(*report_, head_policy_, budget());
    if (policy_ != head_policy_ && heads_.kv_head)
        heads_.kv_head = corresponding_head(before, cell(), *heads_.kv_head);
    head_policy_ = policy_;
    text_page_->show_heads(cell());
    text_page_->show_choice(heads_);
    const bool is_one = heads_.layer && heads_.kv_head;
    budget_view_->choose(is_one ? std::optional(HeadId{*heads_.layer, *heads_.kv_head}) : std::nullopt);
}

void MainWindow::refresh()
{
    follow_heads();
    run_model_.set_budget(budget());
    const auto row = sorted_runs_->mapFromSource(run_model_.index(static_cast<int>(policy_), 0));
    {
        const QSignalBlocker blocker(run_list_->selectionModel());
        run_list_->setCurrentIndex(row);
    }
    run_list_->viewport()->update(); // the blocked selection model did not tell it
    run_list_->scrollTo(row);
    budget_label_->setText(budget_html(cell(), budget()));
    details_->setText(details_html(cell()));
    refresh_tab();
}

void MainWindow::refresh_tab()
{
    if (!report_)
        return;
    const auto here = cell();
    switch (tabs_->currentIndex()) {
    case budgets_tab:
        budget_model_.set_cell(report_, here.policy, here.budget, span_);
        break;
    case layers_tab:
        layer_chart_->show_cell(here, measures_[measure_]);
        break;
    case comparison_tab:
        comparison_chart_->mark_budget(budget());
        comparison_chart_->mark_policy(policy_);
        break;
    case text_tab:
        token_model_.set_cell(here.policy, here.budget, heads_);
        text_page_->describe(here);
        break;
    default:
        break;
    }
}

Picture MainWindow::current_picture() const
{
    const auto here = cell();
    switch (tabs_->currentIndex()) {
    case budgets_tab:
        return budget_picture(report_, here.policy, here.budget, span_);
    case layers_tab:
        return layer_picture(report_, here.policy, here.budget, measures_[measure_]);
    case comparison_tab:
        return comparison_picture(report_, measures_[measure_], QString::fromStdString(measures_[measure_].key));
    default:
        return text_picture(here, heads_, text_page_->view().viewport()->size(),
            [view = &text_page_->view()](QPainter& painter, const QRectF&) { view->draw(painter); });
    }
}

} // namespace lava::gui
