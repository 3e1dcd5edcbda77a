#pragma once

#include "gui/budget_picture.h"

#include <QWidget>

namespace lava::gui {

/// Shows a BudgetModel as a heat map with numbers on hover; a click chooses a head.
class BudgetView : public QWidget
{
    Q_OBJECT
public:
    explicit BudgetView(BudgetModel& model, QWidget* parent = nullptr);

    void choose(std::optional<HeadId> head);
    QSize minimumSizeHint() const override { return {420, 300}; }

Q_SIGNALS:
    void head_chosen(HeadId head);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    bool event(QEvent* event) override;

private:
    void count_keepers();
    QString tool_tip(const QPoint& where) const;
    std::optional<BudgetLayout> layout_now() const;

    BudgetModel& model_;
    std::optional<HeadId> chosen_;
    std::vector<std::vector<std::int32_t>> keepers_; // [num_layers][seq_len]
    QImage positions_;
    bool is_stale_ = true; // counted when painted, so that a hidden tab costs nothing
};

} // namespace lava::gui
