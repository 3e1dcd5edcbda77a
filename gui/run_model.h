#pragma once

#include "gui/measure.h"
#include "gui/sweep.h"

#include <QAbstractTableModel>

namespace lava::gui {

/// The policies of a report at one budget: name, entries retained, value of a measure.
class RunModel : public QAbstractTableModel
{
    Q_OBJECT
public:
    enum Column
    {
        policy_column,
        retained_column,
        value_column,
        num_columns
    };
    static constexpr int sort_role = Qt::UserRole; ///< the bare number or name

    using QAbstractTableModel::QAbstractTableModel;

    void set_report(SharedReport report);
    void set_measure(const Measure& measure, MeasureTable values);
    void set_budget(std::int64_t budget); ///< policies that lack it are shown at their nearest

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    QVariant text(std::size_t policy, int column) const;
    QVariant number(std::size_t policy, int column) const;
    QString tool_tip(std::size_t policy) const;
    std::optional<double> value(std::size_t policy) const;
    bool is_elsewhere(std::size_t policy) const; ///< shown at a budget other than the one asked for

    SharedReport report_;
    Measure measure_;
    MeasureTable values_;
    std::int64_t budget_ = 0;
};

} // namespace lava::gui
