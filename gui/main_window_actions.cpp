#include "base/formatted.h"
#include "gui/export.h"
#include "gui/main_window.h"
#include "gui/text_page.h"

#include "analysis/selection.h"
#include "base/error.h"
#include "base/output_guard.h"
#include "traces/recorded_part.h"

#include <QApplication>
#include <QFileDialog>
#include <QMenuBar>
#include <QMessageBox>
#include <QSlider>
#include <QSortFilterProxyModel>
#include <QTabWidget>
#include <QTableView>

#include <algorithm>
#include <functional>
#include <span>

namespace lava::gui {

namespace {

std::string joined(const std::vector<std::string>& names)
{
    std::string text;
    for (const auto& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text;
}

std::size_t place_of(const std::string& option, const std::string& wanted, const std::vector<std::string>& known,
    const std::string& file)
{
    const auto found = std::find(known.begin(), known.end(), wanted);
    if (found == known.end())
        throw Error(option + ": " + file + " has no '" + wanted + "'; it has " + joined(known));
    return static_cast<std::size_t>(found - known.begin());
}

/// Which of `count` layers or heads has this number in the model.
std::int64_t place_of(const std::string& option, std::int64_t wanted, std::int64_t count,
    const std::function<std::int64_t(std::int64_t)>& number_of)
{
    std::vector<std::int64_t> numbers;
    for (std::int64_t place = 0; place < count; ++place)
        numbers.push_back(number_of(place));
    const auto found = std::find(numbers.begin(), numbers.end(), wanted);
    if (found == numbers.end())
        throw Error(formatted("{}: expected a number of {}, found {}", option, ranges_text(numbers), wanted));
    return found - numbers.begin();
}

/// Place of the layer with the number `wanted`; numbers below 0 count from the last layer.
std::int64_t place_of_layer(std::int64_t wanted, const TraceInfo& trace)
{
    const std::int64_t count = trace.shape.num_layers;
    if (wanted < 0 && wanted >= -count)
        return count + wanted;
    return place_of("--layer", wanted, count, [&](std::int64_t place) { return layer_number(trace, place); });
}

/// The one of the slider's budgets that is asked for.
std::int64_t budget_of(const BudgetItem& wanted, const std::vector<std::int64_t>& grid, const ReplayReport& report)
{
    const auto named = budgets_named(wanted, grid, report.trace.seq_len);
    std::vector<std::string> budgets;
    for (const auto budget : named.empty() ? grid : named)
        budgets.push_back(std::to_string(budget));
    if (named.empty())
        throw Error("--budget: " + report.file + " has no '" + wanted.text + "'; it has " + joined(budgets));
    if (named.size() > 1)
        throw Error("--budget: expected one budget, found '" + wanted.text + "', which names " + joined(budgets));
    return named.front();
}

} // namespace

void MainWindow::make_menus()
{
    auto* file = menuBar()->addMenu(QStringLiteral("&File"));
    auto* open
        = file->addAction(QStringLiteral("&Open report…"), QKeySequence::Open, this, &MainWindow::ask_for_report);
    open->setObjectName(QStringLiteral("open"));
    file->addSeparator();
    const auto add = [this](QMenu* menu, const QString& text, const QKeySequence& keys, auto work) {
        auto* action = menu->addAction(text, keys, this, work);
        action->setEnabled(false);
        report_actions_ << action;
    };
    add(file, QStringLiteral("Export this view as &PNG…"), {},
        [this] { ask_and_write(QStringLiteral("png"), write_png); });
    add(file, QStringLiteral("Export this view as &SVG…"), {},
        [this] { ask_and_write(QStringLiteral("svg"), write_svg); });
    add(file, QStringLiteral("Export its numbers as &CSV…"), {},
        [this] { ask_and_write(QStringLiteral("csv"), write_csv); });
    add(file, QStringLiteral("Export &all charts into a folder…"), {}, [this] { ask_and_export_all(); });
    file->addSeparator();
    file->addAction(QStringLiteral("&Quit"), QKeySequence::Quit, this, &QWidget::close);

    auto* view = menuBar()->addMenu(QStringLiteral("&View"));
    add(view, QStringLiteral("Smaller budget"), Qt::Key_Left, [this] { slider_->setValue(slider_->value() - 1); });
    add(view, QStringLiteral("Larger budget"), Qt::Key_Right, [this] { slider_->setValue(slider_->value() + 1); });
    add(view, QStringLiteral("Previous policy"), Qt::Key_Up, [this] { move_policy(-1); });
    add(view, QStringLiteral("Next policy"), Qt::Key_Down, [this] { move_policy(1); });
    view->addSeparator();
    for (int tab = 0; tab < tabs_->count(); ++tab)
        add(view, tabs_->tabText(tab), QKeySequence(QStringLiteral("Ctrl+%1").arg(tab + 1)),
            [this, tab] { tabs_->setCurrentIndex(tab); });
    add(view, QStringLiteral("Go to the marked span"), QKeySequence(QStringLiteral("Ctrl+G")), [this] {
        tabs_->setCurrentIndex(text_tab);
        text_page_->go_to_span();
    });
}

void MainWindow::move_policy(int rows)
{
    const auto current = sorted_runs_->mapFromSource(run_model_.index(static_cast<int>(policy_), 0)).row();
    const auto row = std::clamp(current + rows, 0, sorted_runs_->rowCount() - 1);
    choose_policy(static_cast<std::size_t>(sorted_runs_->mapToSource(sorted_runs_->index(row, 0)).row()));
}

void MainWindow::apply(const Options& options)
{
    const auto file = report_ ? report_->file : std::string();
    if (options.policy) {
        const auto cells = select_cells(std::span(report_.get(), 1), {{*options.policy}, {}, {}});
        choose_policy(cells.front().policy);
    }
    if (options.budget)
        choose_budget(budget_of(*options.budget, grid_, *report_));
    if (options.measure) {
        std::vector<std::string> keys;
        for (const auto& measure : measures_)
            keys.push_back(measure.key);
        choose_measure(place_of("--measure", *options.measure, keys, file));
    }
    if (options.layer) {
        const auto here = cell(); // its policy says which heads there are
        const auto head = [&](std::int64_t place) { return cache_head_number(here, place); };
        HeadChoice heads{place_of_layer(*options.layer, report_->trace), {}};
        if (options.kv_head)
            heads.kv_head = place_of("--kv-head", *options.kv_head, here.cache_heads(), head);
        choose_heads(heads);
    }
    if (options.tab) { // options.cpp let only these four through
        tabs_->setCurrentIndex(*options.tab == "budgets" ? budgets_tab
                : *options.tab == "layers"               ? layers_tab
                : *options.tab == "comparison"           ? comparison_tab
                                                         : text_tab);
    }
}

void MainWindow::guarded(const std::function<void()>& work)
{
    try {
        work();
    } catch (const std::exception& error) {
        QMessageBox::warning(this, QStringLiteral("lava-gui"), QString::fromStdString(error.what()));
    }
}

void MainWindow::ask_for_report()
{
    const auto file = QFileDialog::getOpenFileName(
        this, QStringLiteral("Open report"), {}, QStringLiteral("Reports of lava-replay (*.h5);;All files (*)"));
    if (file.isEmpty())
        return;
    guarded([&] {
        show_report(std::make_shared<const ReplayReport>(compared_at(read_report(file.toStdString()), "retained")));
    });
}

void MainWindow::ask_and_write(const QString& ending, void (*write)(const Picture&, const std::filesystem::path&))
{
    const auto picture = current_picture();
    const auto file = QFileDialog::getSaveFileName(this, QStringLiteral("Export"),
        picture.stem + QLatin1Char('.') + ending, QStringLiteral("%1 (*.%2)").arg(ending.toUpper(), ending));
    if (!file.isEmpty()) {
        guarded([&] {
            const std::filesystem::path chosen = file.toStdString(), read = report_->file;
            refuse_same_files({&chosen, 1}, {&read, 1});
            write(picture, chosen);
        });
    }
}

void MainWindow::ask_and_export_all()
{
    const auto folder = QFileDialog::getExistingDirectory(this, QStringLiteral("Export all charts"));
    if (folder.isEmpty())
        return;
    QApplication::setOverrideCursor(Qt::WaitCursor);
    guarded([&] { export_report(report_, folder.toStdString(), std::nullopt, budget(), {report_->file}); });
    QApplication::restoreOverrideCursor();
}

} // namespace lava::gui
