#include "gui/score_pictures.h"

#include "gui/chart_parts.h"
#include "gui/score_chart.h"
#include "gui/score_maps.h"

#include "analysis/report_set.h"
#include "analysis/selection.h"
#include "base/error.h"

#include <QRegularExpression>

#include <algorithm>
#include <memory>
#include <set>

namespace lava::gui {

namespace {

constexpr QSize map_size(900, 560);

using Rows = std::vector<ScoreRow>;

QString file_name(QString text)
{
    return text.replace(QRegularExpression(QStringLiteral("[^A-Za-z0-9@=,.-]+")), QStringLiteral("_"));
}

QString stem_of(const char* kind, const ScoreRow& row)
{
    return file_name(QLatin1String(kind) + QLatin1Char('_') + task_title(row).remove(QLatin1Char(',')));
}

QString share_stem(const ScoreRow& row)
{
    return QStringLiteral("_P%1").arg(percent_kept(row));
}

/// Rows task by task, in their order; a needle's by metric.
std::vector<Rows> by_task(const Rows& rows)
{
    std::vector<Rows> tasks;
    for (const auto& row : rows) {
        const auto of_task = [&](const Rows& others) { return others.front().task == row.task; };
        auto found = std::find_if(tasks.begin(), tasks.end(), of_task);
        if (found == tasks.end())
            found = tasks.insert(found, Rows());
        found->push_back(row);
    }
    return tasks;
}

template <typename Keep> Rows those(const Rows& rows, const Keep& keep)
{
    Rows kept;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(kept), keep);
    return kept;
}

bool has(const Rows& rows, const std::string& policy)
{
    return std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.policy == policy; });
}

/// In the order of the reports.
PolicyOrder policies_of(const std::vector<Cell>& cells)
{
    PolicyOrder policies;
    for (const auto& cell : cells)
        if (std::find(policies.begin(), policies.end(), cell.replay().policy) == policies.end())
            policies.push_back(cell.replay().policy);
    return policies;
}

class ScorePictures
{
public:
    ScorePictures(std::vector<ReplayReport> reports, const ScoreChoice& choice)
        : choice_(choice)
    {
        check_same_model(reports, Use::averaged);
        request_.match = choice.match;
        if (!choice.baseline.empty())
            request_.baseline = policy_named(reports, choice.baseline);
        for (auto& report : reports)
            reports_.push_back(compared_at(std::move(report), choice.match));
        cells_ = select_cells(reports_, filter());
        check_nothing_twice(cells_, Use::averaged);
    }

    std::vector<Picture> take()
    {
        const auto rows = score_rows(cells_, request_);
        policies_ = policies_of(cells_);
        place_ = place_of_maps();
        for (const auto& task : by_task(rows)) {
            add_chart(task);
            Rows compared;
            for (const auto& policy : policies_)
                std::copy_if(task.begin(), task.end(), std::back_inserter(compared),
                    [&](const auto& row) { return row.policy == policy && row.place == place_ && row.compared; });
            add_wins(compared);
        }
        add_needles();
        return std::move(pictures_);
    }

private:
    Filter filter() const
    {
        Filter filter{choice_.policies, {}, {}};
        if (!filter.policies.empty() && !choice_.baseline.empty())
            filter.policies.push_back(choice_.baseline);
        return filter;
    }

    /// The share at which there is one budget to be drawn.
    std::int64_t place_of_maps() const
    {
        const auto shares = shares_of(cells_);
        auto wanted = filter();
        if (choice_.budget)
            wanted.budgets.push_back(*choice_.budget);
        std::set<std::int64_t> places;
        for (const auto& cell : select_cells(reports_, wanted))
            places.insert(shares.place(cell.replay().budgets[cell.budget], cell.report.trace.seq_len));
        return *std::next(places.begin(), static_cast<std::ptrdiff_t>(places.size() / 2));
    }

    void add_chart(const Rows& rows)
    {
        const auto draw = [rows, policies = policies_](QPainter& painter, const QRectF& area) {
            ScoreChart chart;
            chart.show_rows(rows, policies);
            draw_chart(chart, painter, area);
        };
        pictures_.push_back({stem_of("score", rows.front()), chart_size, draw, csv(rows)});
    }

    void add_wins(const Rows& rows)
    {
        if (rows.empty())
            return;
        const auto baseline = QString::fromStdString(request_.baseline);
        const auto draw
            = [rows, baseline](QPainter& painter, const QRectF& area) { draw_wins(painter, area, rows, baseline); };
        pictures_.push_back({stem_of("wins", rows.front()) + share_stem(rows.front()),
            {chart_size.width(), height_of_wins(rows.size())}, draw, csv(rows)});
    }

    void add_needles()
    {
        std::vector<Cell> needles;
        for (const auto& cell : cells_)
            if (const auto scoring = scoring_of(cell.report); scoring.length && scoring.depth)
                needles.push_back(cell);
        request_.by = ScoreBy::needle;
        for (const auto& task : by_task(score_rows(needles, request_))) {
            const auto rows = those(task, [&](const auto& row) { return row.place == place_; });
            if (rows.empty())
                continue;
            add_needle_map(those(rows, [&](const auto& row) { return row.policy == rows.front().policy; }), true);
            for (const auto& policy : policies_)
                if (has(rows, policy))
                    add_needle_map(those(rows, [&](const auto& row) { return row.policy == policy; }), false);
        }
    }

    void add_needle_map(const Rows& rows, bool whole_cache)
    {
        const auto policy = QString::fromStdString(rows.front().policy);
        const auto name = whole_cache ? QStringLiteral("whole cache")
                                      : policy + QStringLiteral(" at ") + percent_text(rows.front());
        const auto draw = [rows, whole_cache, name](QPainter& painter, const QRectF& area) {
            draw_needles(painter, area, rows, whole_cache, name + QStringLiteral(": score in percent"));
        };
        const auto metric = QString::fromStdString(rows.front().task.metric);
        const auto stem = whole_cache ? metric + QStringLiteral("_whole_cache")
                                      : metric + QLatin1Char('_') + file_name(policy) + share_stem(rows.front());
        pictures_.push_back({file_name(stem), map_size, draw, csv(rows)});
    }

    std::string csv(const Rows& rows) const { return to_csv(score_table(rows, request_)); }

    const ScoreChoice& choice_;
    std::vector<ReplayReport> reports_;
    ReportScoreRequest request_;
    std::vector<Cell> cells_;
    PolicyOrder policies_;
    std::int64_t place_ = 0;
    std::vector<Picture> pictures_;
};

} // namespace

std::vector<Picture> score_pictures(std::vector<ReplayReport> reports, const ScoreChoice& choice)
{
    return ScorePictures(std::move(reports), choice).take();
}

} // namespace lava::gui
