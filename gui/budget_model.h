#pragma once

#include "gui/measure.h"
#include "gui/sweep.h"

#include <QAbstractTableModel>
#include <QColor>

namespace lava::gui {

/// Entries retained by every head of one cell of the sweep: a row per layer, a column per KV head.
/// Its texts give the numbers that these have in the model.
class BudgetModel : public QAbstractTableModel
{
    Q_OBJECT
public:
    static constexpr int share_role = Qt::UserRole; ///< place on the colour scale, in [0, 1]

    using QAbstractTableModel::QAbstractTableModel;

    /// `span` names one of the trace's spans for the tool tips.
    void set_cell(SharedReport report, std::size_t policy, std::size_t budget, std::optional<std::size_t> span = {});
    std::optional<Cell> cell() const;
    std::optional<std::size_t> span() const { return span_; }

    /// Top of the colour scale: the largest head, but at least twice the mean, so that a uniform map is not all dark.
    std::int64_t scale_end() const { return scale_end_; }

    int rowCount(const QModelIndex& parent = {}) const override;
    int columnCount(const QModelIndex& parent = {}) const override;
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    double share(HeadId head) const;
    QString tool_tip(HeadId head) const;
    QString head_loss_line(const Cell& cell, HeadId head) const;

    SharedReport report_;
    std::size_t policy_ = 0;
    std::size_t budget_ = 0;
    std::optional<std::size_t> span_;
    std::int64_t scale_end_ = 1;
};

} // namespace lava::gui
