#pragma once

#include "analysis/score_reports.h"

#include <QChart>
#include <QLineSeries>

namespace lava::gui {

/// Places of policies in their colours.
using PolicyOrder = std::vector<std::string>;

/// Scores of one task against the share of the prompt that is kept: a line for each policy with its 95 % interval as a
/// band, and a black one for the whole cache.
class ScoreChart : public QChart
{
    Q_OBJECT
public:
    explicit ScoreChart(QGraphicsItem* parent = nullptr);

    /// `rows`: of one task, at least one.
    void show_rows(const std::vector<ScoreRow>& rows, const PolicyOrder& policies);

private:
    QLineSeries* add_line(const QString& name, const QPen& pen, const std::vector<QPointF>& points);
    void add_band(const QColor& colour, const std::vector<QPointF>& low, const std::vector<QPointF>& high);
    void add_policy(const std::vector<ScoreRow>& rows, const std::string& policy, std::size_t place);
    void add_whole_cache(const std::vector<ScoreRow>& rows);
    void add_axes(const std::vector<ScoreRow>& rows);
};

/// "longbench, hotpotqa, qa_f1": what tells a task's chart from others.
QString task_title(const ScoreRow& row);

/// A share in percent as a number, and as it is written: "25 %".
double percent_kept(const ScoreRow& row);
QString percent_text(const ScoreRow& row);

} // namespace lava::gui
