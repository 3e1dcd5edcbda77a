#include "gui/run_model.h"

#include "gui/colours.h"

#include <QFont>
#include <QStringList>

#include <limits>

namespace lava::gui {

void RunModel::set_report(SharedReport report)
{
    beginResetModel();
    report_ = std::move(report);
    values_.clear();
    endResetModel();
}

void RunModel::set_measure(const Measure& measure, MeasureTable values)
{
    measure_ = measure;
    values_ = std::move(values);
    if (rowCount() == 0)
        return;
    Q_EMIT headerDataChanged(Qt::Horizontal, value_column, value_column);
    Q_EMIT dataChanged(index(0, value_column), index(rowCount() - 1, value_column));
}

void RunModel::set_budget(std::int64_t budget)
{
    budget_ = budget;
    if (rowCount() > 0)
        Q_EMIT dataChanged(index(0, 0), index(rowCount() - 1, num_columns - 1));
}

int RunModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !report_ ? 0 : static_cast<int>(report_->policies.size());
}

int RunModel::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : num_columns;
}

QVariant RunModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const auto policy = static_cast<std::size_t>(index.row());
    switch (role) {
    case Qt::DisplayRole:
        return text(policy, index.column());
    case sort_role:
        return number(policy, index.column());
    case Qt::DecorationRole:
        return index.column() == policy_column ? QVariant(policy_swatch(policy)) : QVariant();
    case Qt::ToolTipRole:
        return tool_tip(policy);
    case Qt::TextAlignmentRole:
        return QVariant::fromValue(
            Qt::Alignment(index.column() == policy_column ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter);
    case Qt::FontRole: {
        QFont font;
        font.setItalic(is_elsewhere(policy));
        return font;
    }
    default:
        return {};
    }
}

QVariant RunModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::Alignment(section == policy_column ? Qt::AlignLeft : Qt::AlignRight));
    if (role == Qt::ToolTipRole && section == value_column)
        return measure_.label;
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case policy_column:
        return QStringLiteral("Policy");
    case retained_column:
        return QStringLiteral("Retained");
    case value_column:
        return measure_.heading;
    default:
        return {};
    }
}

QVariant RunModel::text(std::size_t policy, int column) const
{
    switch (column) {
    case policy_column:
        return QString::fromStdString(report_->policies[policy].policy);
    case retained_column:
        return format_count(retained(cell_near(*report_, policy, budget_)));
    case value_column:
        return format_value(measure_, value(policy));
    default:
        return {};
    }
}

QVariant RunModel::number(std::size_t policy, int column) const
{
    switch (column) {
    case policy_column:
        return static_cast<int>(policy);
    case retained_column:
        return static_cast<qlonglong>(retained(cell_near(*report_, policy, budget_)));
    case value_column:
        return value(policy).value_or(std::numeric_limits<double>::infinity());
    default:
        return {};
    }
}

QString RunModel::tool_tip(std::size_t policy) const
{
    const auto cell = cell_near(*report_, policy, budget_);
    const auto& replay = cell.replay();
    QStringList lines{QString::fromStdString(replay.policy)};
    if (is_elsewhere(policy))
        lines << QStringLiteral("not replayed at B = %1; shown at its nearest budget, B = %2")
                     .arg(budget_)
                     .arg(replay.budgets[cell.budget]);
    lines << QStringLiteral("asked %1, granted %2, retained %3")
                 .arg(format_count(replay.asked[cell.budget]), format_count(replay.granted[cell.budget]),
                     format_count(retained(cell)));
    lines << QStringLiteral("%1: %2").arg(measure_.label, format_value(measure_, value(policy)));
    for (const auto& [name, setting] : replay.parameters)
        lines << QStringLiteral("%1 = %2").arg(QString::fromStdString(name), QString::fromStdString(setting));
    return lines.join(QLatin1Char('\n'));
}

std::optional<double> RunModel::value(std::size_t policy) const
{
    return policy < values_.size() ? values_[policy][nearest_budget(report_->policies[policy], budget_)] : std::nullopt;
}

bool RunModel::is_elsewhere(std::size_t policy) const
{
    const auto& replay = report_->policies[policy];
    return replay.budgets[nearest_budget(replay, budget_)] != budget_;
}

} // namespace lava::gui
