#pragma once

#include "gui/budget_model.h"
#include "gui/options.h"
#include "gui/pictures.h"
#include "gui/run_model.h"
#include "gui/token_model.h"

#include <QMainWindow>

class QComboBox;
class QLabel;
class QSlider;
class QSortFilterProxyModel;
class QTableView;
class QTabWidget;

namespace lava::gui {

class BudgetView;
class ComparisonChart;
class LayerChart;
class TextPage;

/// The window: policies on the left, the budget slider on top, and four views of what both choose.
class MainWindow : public QMainWindow
{
    Q_OBJECT
public:
    enum Tab
    {
        budgets_tab,
        layers_tab,
        comparison_tab,
        text_tab
    };

    explicit MainWindow(QWidget* parent = nullptr);

    /// Throws Error where there is nothing to show in the report.
    void show_report(SharedReport report);
    /// Throws Error naming what the report does not have.
    void apply(const Options& options);

    void choose_policy(std::size_t policy);
    void choose_budget(std::int64_t budget); ///< the nearest of the grid
    void choose_measure(std::size_t measure);
    void choose_heads(const HeadChoice& choice);
    void choose_span(std::size_t span);

    std::int64_t budget() const { return grid_[budget_step_]; }
    Cell cell() const { return cell_near(*report_, policy_, budget()); }
    Picture current_picture() const;

private:
    void make_menus();
    QWidget* make_top();
    QWidget* make_left();
    void make_run_list();
    QWidget* make_tabs();
    void start_report();
    void refresh(); ///< after any choice: lists and the tab in front
    void follow_heads(); ///< the choice of heads, after a policy was chosen that may keep its caches for other heads
    void refresh_tab();
    void set_budget_step(int step);
    void move_policy(int rows);
    void ask_for_report();
    void ask_and_write(const QString& ending, void (*write)(const Picture&, const std::filesystem::path&));
    void ask_and_export_all();
    void guarded(const std::function<void()>& work); ///< shows an Error in a box

    SharedReport report_;
    std::vector<std::int64_t> grid_;
    std::vector<Measure> measures_;
    MeasureTable values_; // values of the chosen measure
    std::size_t policy_ = 0;
    std::size_t budget_step_ = 0;
    std::size_t measure_ = 0;
    std::optional<std::size_t> span_;
    HeadChoice heads_; // the heads chosen of head_policy_
    std::size_t head_policy_ = 0;

    RunModel run_model_;
    BudgetModel budget_model_;
    TokenModel token_model_;
    QSortFilterProxyModel* sorted_runs_ = nullptr;
    QTableView* run_list_ = nullptr;
    QLabel* details_ = nullptr;
    QSlider* slider_ = nullptr;
    QLabel* budget_label_ = nullptr;
    QComboBox* measure_box_ = nullptr;
    QTabWidget* tabs_ = nullptr;
    BudgetView* budget_view_ = nullptr;
    LayerChart* layer_chart_ = nullptr;
    ComparisonChart* comparison_chart_ = nullptr;
    TextPage* text_page_ = nullptr;
    QLabel* status_ = nullptr;
    QList<QAction*> report_actions_; // enabled once there is a report
};

} // namespace lava::gui
