#include "gui/budget_view.h"

#include "gui/measure.h"

#include "traces/recorded_part.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>

#include <algorithm>

namespace lava::gui {

BudgetView::BudgetView(BudgetModel& model, QWidget* parent)
    : QWidget(parent)
    , model_(model)
{
    const auto mark_stale = [this] {
        is_stale_ = true;
        update();
    };
    connect(&model, &QAbstractItemModel::dataChanged, this, mark_stale);
    connect(&model, &QAbstractItemModel::modelReset, this, mark_stale);
}

void BudgetView::choose(std::optional<HeadId> head)
{
    chosen_ = head;
    update();
}

void BudgetView::count_keepers()
{
    is_stale_ = false;
    keepers_.clear();
    positions_ = {};
    const auto cell = model_.cell();
    if (!cell)
        return;
    keepers_ = keepers_by_layer(*cell);
    const auto width = static_cast<int>(layout_now()->positions().width() / 2);
    positions_ = position_image(keepers_, cell->cache_heads(), width);
}

std::optional<BudgetLayout> BudgetView::layout_now() const
{
    const auto cell = model_.cell();
    return cell ? std::optional(BudgetLayout(rect(), cell->shape(), cell->report.trace.seq_len)) : std::nullopt;
}

void BudgetView::paintEvent(QPaintEvent*)
{
    if (is_stale_)
        count_keepers();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    draw_budgets(painter, rect(), model_, positions_, chosen_);
}

void BudgetView::resizeEvent(QResizeEvent* event)
{
    is_stale_ = true;
    QWidget::resizeEvent(event);
}

void BudgetView::mousePressEvent(QMouseEvent* event)
{
    const auto layout = layout_now();
    if (!layout)
        return;
    if (const auto head = layout->head_at(event->position()))
        Q_EMIT head_chosen(*head);
}

QString BudgetView::tool_tip(const QPoint& where) const
{
    const auto layout = layout_now();
    if (!layout)
        return {};
    if (const auto head = layout->head_at(where)) {
        const auto index = model_.index(static_cast<int>(head->layer), static_cast<int>(head->kv_head));
        return model_.data(index, Qt::ToolTipRole).toString();
    }
    const auto place = layout->position_at(where);
    if (!place || keepers_.empty())
        return {};
    const auto& [layer, position] = *place;
    const auto heads = model_.cell()->cache_heads();
    return QStringLiteral("layer %1, position %2\nkept by %3 of its %4 %5s")
        .arg(layer_number(model_.cell()->report.trace, layer))
        .arg(position)
        .arg(keepers_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(position)])
        .arg(heads)
        .arg(head_kind(*model_.cell()));
}

bool BudgetView::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto text = tool_tip(help->pos());
    if (text.isEmpty())
        QToolTip::hideText();
    else
        QToolTip::showText(help->globalPos(), text, this);
    return true;
}

} // namespace lava::gui
