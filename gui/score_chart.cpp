#include "gui/score_chart.h"

#include "gui/chart_parts.h"
#include "gui/colours.h"

#include <QAbstractAxis>
#include <QAreaSeries>
#include <QLegend>
#include <QLegendMarker>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace lava::gui {

namespace {

constexpr double in_percent = 100;

AxisScale share_scale(const std::vector<ScoreRow>& rows)
{
    double first = percent_kept(rows.front()), last = first;
    for (const auto& row : rows) {
        first = std::min(first, percent_kept(row));
        last = std::max(last, percent_kept(row));
    }
    return {true, first / 1.06, last * 1.06};
}

/// From 0 to a little above whatever is drawn.
AxisScale score_scale(const std::vector<ScoreRow>& rows)
{
    double highest = 0;
    for (const auto& row : rows)
        highest = std::max({highest, *row.score.mean.value, row.dense, row.score.high.value_or(0)});
    return {false, 0, highest > 0 ? std::min(in_percent * highest * 1.05, 100.0) : 100};
}

QString samples_of(const std::vector<ScoreRow>& rows)
{
    auto fewest = rows.front().score.mean.count, most = fewest;
    for (const auto& row : rows) {
        fewest = std::min(fewest, row.score.mean.count);
        most = std::max(most, row.score.mean.count);
    }
    const auto range = fewest == most ? QString::number(most) : QStringLiteral("%1 to %2").arg(fewest).arg(most);
    return range + (most == 1 ? QStringLiteral(" sample") : QStringLiteral(" samples"));
}

} // namespace

QString task_title(const ScoreRow& row)
{
    QStringList parts;
    const auto length = row.task.max_length ? std::to_string(*row.task.max_length) + " tokens" : std::string();
    for (const auto& part : {row.task.benchmark, row.task.variant == "official" ? "" : row.task.variant,
             row.task.task == "all" ? "all tasks" : row.task.task, row.task.metric, length})
        if (const auto text = QString::fromStdString(part); !text.isEmpty() && !parts.contains(text))
            parts << text;
    return parts.join(QStringLiteral(", "));
}

double percent_kept(const ScoreRow& row)
{
    if (const auto* whole = std::get_if<std::int64_t>(&row.kept_percent))
        return static_cast<double>(*whole);
    return std::get<double>(row.kept_percent);
}

QString percent_text(const ScoreRow& row)
{
    return QString::number(percent_kept(row), 'g', 6) + QStringLiteral(" %");
}

ScoreChart::ScoreChart(QGraphicsItem* parent)
    : QChart(parent)
{
    use_paper_style(*this);
    legend()->setAlignment(Qt::AlignRight);
}

void ScoreChart::show_rows(const std::vector<ScoreRow>& rows, const PolicyOrder& policies)
{
    clear_chart(*this);
    const bool any_band = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.score.low; });
    setTitle(QStringLiteral("%1: score, %2%3")
                 .arg(task_title(rows.front()), samples_of(rows),
                     any_band ? QStringLiteral("; bands: 95 % intervals") : QString())
                 .toHtmlEscaped());
    for (std::size_t place = 0; place < policies.size(); ++place)
        add_policy(rows, policies[place], place);
    add_whole_cache(rows);
    add_axes(rows);
    legend()->show();
}

QLineSeries* ScoreChart::add_line(const QString& name, const QPen& pen, const std::vector<QPointF>& points)
{
    auto* line = new QLineSeries;
    line->setName(name);
    line->setPen(pen);
    for (const auto& point : points)
        line->append(point);
    line->setPointsVisible(points.size() < 3); // one budget would be no line at all
    addSeries(line);
    return line;
}

void ScoreChart::add_band(const QColor& colour, const std::vector<QPointF>& low, const std::vector<QPointF>& high)
{
    auto* upper = new QLineSeries(this);
    auto* lower = new QLineSeries(this);
    for (std::size_t i = 0; i < low.size(); ++i) {
        lower->append(low[i]);
        upper->append(high[i]);
    }
    auto* band = new QAreaSeries(upper, lower);
    auto pale = colour;
    pale.setAlphaF(0.1F);
    band->setBrush(pale);
    auto edge = colour;
    edge.setAlphaF(0.4F); // so that bands that lie on each other can be told apart
    band->setPen(QPen(edge, 0.8));
    addSeries(band);
    for (auto* entry : legend()->markers(band))
        entry->setVisible(false);
}

void ScoreChart::add_policy(const std::vector<ScoreRow>& rows, const std::string& policy, std::size_t place)
{
    std::vector<QPointF> points, low, high;
    for (const auto& row : rows) {
        if (row.policy != policy)
            continue;
        const auto x = std::log10(percent_kept(row));
        points.emplace_back(x, in_percent * *row.score.mean.value);
        if (row.score.low && row.score.high) {
            low.emplace_back(x, in_percent * *row.score.low);
            high.emplace_back(x, in_percent * *row.score.high);
        }
    }
    if (points.empty())
        return;
    const auto pen = policy_pen(place);
    if (low.size() > 1)
        add_band(pen.color(), low, high);
    add_line(short_name(QString::fromStdString(policy)), pen, points);
}

void ScoreChart::add_whole_cache(const std::vector<ScoreRow>& rows)
{
    std::map<double, const ScoreRow*> fullest; // at a share, the row of the most samples
    for (const auto& row : rows) {
        auto& best = fullest[percent_kept(row)];
        if (best == nullptr || row.score.mean.count > best->score.mean.count)
            best = &row;
    }
    std::vector<QPointF> points;
    for (const auto& [percent, row] : fullest)
        points.emplace_back(std::log10(percent), in_percent * row->dense);
    add_line(QStringLiteral("whole cache"), QPen(QColor(0x101010), 1.4, Qt::DashDotLine), points);
}

void ScoreChart::add_axes(const std::vector<ScoreRow>& rows)
{
    const auto horizontal = share_scale(rows);
    std::set<double> shares;
    for (const auto& row : rows)
        shares.insert(percent_kept(row));
    auto* below = make_axis(horizontal, spaced_ticks({shares.begin(), shares.end()}, horizontal, 0.06),
        QStringLiteral("budget in percent of the prompt, window included"), false);
    auto* beside = make_axis(score_scale(rows), {}, QStringLiteral("score in percent"), false);
    addAxis(below, Qt::AlignBottom);
    addAxis(beside, Qt::AlignLeft);
    for (auto* line : series()) {
        line->attachAxis(below);
        line->attachAxis(beside);
    }
}

} // namespace lava::gui
