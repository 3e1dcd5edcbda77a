#include "gui/budget_model.h"

#include "gui/colours.h"
#include "gui/measure.h"

#include "traces/recorded_part.h"

#include <QStringList>

#include <algorithm>

namespace lava::gui {

namespace {

std::int64_t top_of_scale(const Cell& cell)
{
    const auto shape = cell.shape();
    auto largest = 2 * retained(cell) / (shape.num_layers * shape.num_kv_heads);
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer)
        for (std::int64_t head = 0; head < shape.num_kv_heads; ++head)
            largest = std::max(largest, retained(cell, HeadId{layer, head}));
    return std::clamp<std::int64_t>(largest, 1, cell.report.trace.seq_len);
}

} // namespace

void BudgetModel::set_cell(SharedReport report, std::size_t policy, std::size_t budget, std::optional<std::size_t> span)
{
    const bool reset = report != report_ || (report && report->cache_heads(policy) != columnCount());
    if (reset)
        beginResetModel();
    report_ = std::move(report);
    policy_ = policy;
    budget_ = budget;
    span_ = span;
    scale_end_ = report_ ? top_of_scale(*cell()) : 1;
    if (reset)
        endResetModel();
    else if (report_)
        Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
}

std::optional<Cell> BudgetModel::cell() const
{
    return report_ ? std::optional<Cell>(Cell{*report_, policy_, budget_}) : std::nullopt;
}

int BudgetModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !report_ ? 0 : static_cast<int>(report_->trace.shape.num_layers);
}

int BudgetModel::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() || !report_ ? 0 : static_cast<int>(report_->cache_heads(policy_));
}

QVariant BudgetModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const HeadId head{index.row(), index.column()};
    switch (role) {
    case Qt::DisplayRole:
        return static_cast<qlonglong>(retained(*cell(), head));
    case share_role:
        return share(head);
    case Qt::BackgroundRole:
        return heat_colour(share(head));
    case Qt::ForegroundRole:
        return readable_on(heat_colour(share(head)));
    case Qt::TextAlignmentRole:
        return static_cast<int>(Qt::AlignCenter);
    case Qt::ToolTipRole:
        return tool_tip(head);
    default:
        return {};
    }
}

QVariant BudgetModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (role != Qt::DisplayRole)
        return {};
    if (section < 0 || section >= (orientation == Qt::Horizontal ? columnCount() : rowCount()))
        return {};
    return orientation == Qt::Horizontal
        ? QStringLiteral("%1 %2").arg(head_kind(*cell())).arg(cache_head_number(*cell(), section))
        : QStringLiteral("layer %1").arg(layer_number(report_->trace, section));
}

double BudgetModel::share(HeadId head) const
{
    return static_cast<double>(retained(*cell(), head)) / static_cast<double>(scale_end_);
}

QString BudgetModel::tool_tip(HeadId head) const
{
    const auto here = *cell();
    const auto& trace = report_->trace;
    const auto kept = retained(here, head);
    QStringList lines{QStringLiteral("layer %1, %2 %3")
                          .arg(layer_number(trace, head.layer))
                          .arg(head_kind(here))
                          .arg(cache_head_number(here, head.kv_head))};
    lines << QStringLiteral("retains %1 of %2 entries (%3)")
                 .arg(format_count(kept), format_count(trace.seq_len), format_share(kept, trace.seq_len));
    lines << QStringLiteral("the layer retains %1").arg(format_count(retained(here, head.layer)));
    if (span_) {
        const auto& span = trace.spans[*span_];
        lines << QStringLiteral("keeps %1 % of span “%2”")
                     .arg(QString::number(100 * span_survival(here, span, head), 'f', 1),
                         QString::fromStdString(span.name));
    }
    if (report_->has_losses())
        lines << head_loss_line(here, head);
    return lines.join(QLatin1Char('\n'));
}

QString BudgetModel::head_loss_line(const Cell& here, HeadId head) const
{
    const auto group = here.shape().group_size();
    QStringList values;
    for (auto query = head.kv_head * group; query < (head.kv_head + 1) * group; ++query) {
        if (const auto loss = head_losses(here, head.layer, query))
            values << QStringLiteral("%1: %2")
                          .arg(query_head_number(report_->trace, query))
                          .arg(QString::number(loss->head_l1, 'g', 3));
    }
    return QStringLiteral("head_l1 of its query heads  %1").arg(values.join(QStringLiteral("   ")));
}

} // namespace lava::gui
