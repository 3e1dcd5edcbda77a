#include "analysis/score_reports.h"

#include "analysis/report_set.h"
#include "analysis/score_parts.h"
#include "base/error.h"
#include "base/formatted.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace lava {

namespace {

constexpr double same_score = 1e-9; // of two texts: far below any step of a metric, above rounding

/// The places of what is equal, in order of first appearance.
template <typename Key> class Numbering
{
public:
    std::size_t operator()(const Key& key)
    {
        const auto [place, is_new] = places_.try_emplace(key, keys_.size());
        if (is_new)
            keys_.push_back(key);
        return place->second;
    }
    const std::vector<Key>& keys() const { return keys_; }
    const std::map<Key, std::size_t>& places() const { return places_; }

private:
    std::map<Key, std::size_t> places_;
    std::vector<Key> keys_;
};

ScoredTask all_tasks_of(const ScoredTask& task)
{
    return {task.benchmark, task.variant, task.max_length, "all", ""};
}

/// A place of a needle, in the order of rows: number of its task, length and depth.
using NeedlePlace = std::tuple<std::size_t, double, double>;

/// Where a report stands among the others.
struct Place
{
    std::size_t prompt = 0, task = 0, benchmark = 0;
    std::size_t needle = 0; ///< by needle
};

/// Scores of a task's samples, one place for each.
struct TaskScores
{
    std::vector<double> scores, dense;
    std::vector<std::size_t> prompts;
};

struct ScoredGroup : CellGroup
{
    std::map<std::size_t, TaskScores> tasks;
};

class Scoreboard
{
public:
    Scoreboard(std::span<const Cell> cells, const ReportScoreRequest& request)
        : cells_(cells)
        , request_(request)
        , scores_(request.metric, request.jieba)
        , shares_(shares_of(cells))
    {
        for (const Cell& cell : cells) {
            if (!places_.contains(&cell.report))
                places_[&cell.report] = place_of(cell.report);
        }
    }

    std::vector<ScoreRow> rows()
    {
        if (request_.by == ScoreBy::needle)
            return needle_rows();
        std::vector<ScoreRow> rows;
        const std::vector<CellGroup> by_task = groups(&Place::task), together = groups(&Place::benchmark);
        for (std::size_t benchmark = 0; benchmark < benchmarks_.keys().size(); ++benchmark) {
            std::int64_t tasks = 0;
            for (std::size_t task = 0; task < tasks_.keys().size(); ++task) {
                if (all_tasks_of(tasks_.keys()[task]) != benchmarks_.keys()[benchmark])
                    continue;
                add_rows(by_task, task, 0, tasks_.keys()[task], rows);
                add_rows(by_task, task, 1, tasks_.keys()[task], rows);
                ++tasks;
            }
            if (tasks > 1)
                add_rows(together, benchmark, 0, benchmarks_.keys()[benchmark], rows);
        }
        return rows;
    }

    Table sample_table();

    /// That answers were cut, or went on for longer than their prompts allow, if any did.
    std::vector<std::string> notes()
    {
        std::vector<std::string> list;
        const auto add = [&](const auto& is_so, const char* what) {
            std::set<std::string> files;
            for (const auto& [report, place] : places_) {
                if (is_so(*report, scores_.scoring(*report)))
                    files.insert(report->file);
            }
            if (!files.empty())
                list.push_back(formatted(
                    "{} of {} reports, {} the first, {}", files.size(), places_.size(), *files.begin(), what));
        };
        add(cuts_answers,
            "have answers cut below the number of tokens that their prompts allow: lava-replay --free without a number "
            "lets the model end them");
        add(exceeds_answers,
            "have answers longer than their prompts allow: lava-replay --free without a number ends them there");
        return list;
    }

private:
    Place place_of(const ReplayReport& report)
    {
        const ReportScoring& by = scores_.scoring(report);
        Place place{prompts_(prompt_key(report.trace)), tasks_(by.task), benchmarks_(all_tasks_of(by.task)), 0};
        if (request_.by != ScoreBy::needle)
            return place;
        if (!by.length || !by.depth)
            throw Error(report.file
                + ": its prompt names no length and depth of a needle: expected one of lava-prompts --benchmark "
                  "needle");
        place.needle = needles_({place.task, *by.length, *by.depth});
        return place;
    }

    std::vector<ScoreRow> needle_rows()
    {
        const std::vector<CellGroup> by_needle = groups(&Place::needle);
        std::vector<ScoreRow> rows;
        for (const auto& [needle, number] : needles_.places()) {
            const auto& [task, length, depth] = needle;
            const std::size_t before = rows.size();
            add_rows(by_needle, number, 0, tasks_.keys()[task], rows);
            add_rows(by_needle, number, 1, tasks_.keys()[task], rows);
            for (std::size_t i = before; i < rows.size(); ++i) {
                rows[i].length = length;
                rows[i].depth = depth;
            }
        }
        return rows;
    }

    std::vector<CellGroup> groups(std::size_t Place::*part) const
    {
        std::vector<std::size_t> parts;
        for (const Cell& cell : cells_)
            parts.push_back(places_.at(&cell.report).*part);
        return cell_groups(cells_, shares_, request_.match, parts);
    }

    /// By a metric of each report; none of its samples where there is no such metric.
    ScoredGroup scored(const CellGroup& group, std::size_t metric)
    {
        ScoredGroup result{group, {}};
        for (const Cell* cell : group.cells) {
            const std::vector<const Metric*> metrics = metrics_of(scores_.scoring(cell->report));
            if (metric >= metrics.size())
                continue;
            const Place& place = places_.at(&cell->report);
            TaskScores& task = result.tasks[place.task];
            task.scores.push_back(scores_.of(*cell, *metrics[metric]));
            task.dense.push_back(scores_.of_dense(cell->report, *metrics[metric]));
            task.prompts.push_back(place.prompt);
        }
        return result;
    }

    void add_rows(const std::vector<CellGroup>& groups, std::size_t part, std::size_t metric, ScoredTask task,
        std::vector<ScoreRow>& rows);
    void add_sample(const std::vector<ScoredGroup>& groups, const ScoredGroup& group, Table& table);

    std::span<const Cell> cells_;
    const ReportScoreRequest& request_;
    ReportScores scores_;
    Shares shares_;
    Numbering<std::string> prompts_;
    Numbering<ScoredTask> tasks_, benchmarks_;
    Numbering<NeedlePlace> needles_;
    std::map<const ReplayReport*, Place> places_;
};

/// The lists, and the numbers in each, in ascending order: what is drawn from them must not depend on the reports'.
std::vector<std::vector<double>> in_order(std::vector<std::vector<double>> lists)
{
    for (std::vector<double>& list : lists)
        std::ranges::sort(list);
    std::ranges::sort(lists);
    return lists;
}

/// A column of scores, task by task.
std::vector<std::vector<double>> by_task(const ScoredGroup& group, std::vector<double> TaskScores::*column)
{
    std::vector<std::vector<double>> lists;
    for (const auto& [task, scores] : group.tasks)
        lists.push_back(scores.*column);
    return in_order(std::move(lists));
}

/// What each prompt that both have scores more than with the baseline.
std::vector<double> differences(const TaskScores& base, const TaskScores& scores)
{
    std::map<std::size_t, double> of_base;
    for (std::size_t i = 0; i < base.scores.size(); ++i)
        of_base.emplace(base.prompts[i], base.scores[i]);
    std::vector<double> list;
    for (std::size_t i = 0; i < scores.scores.size(); ++i) {
        if (const auto found = of_base.find(scores.prompts[i]); found != of_base.end())
            list.push_back(scores.scores[i] - found->second);
    }
    return list;
}

std::optional<BaselineComparison> compare(const ScoredGroup* base, const ScoredGroup& group)
{
    BaselineComparison compared;
    std::vector<std::vector<double>> lists;
    for (const auto& [task, scores] : group.tasks) {
        if (!base || !base->tasks.contains(task))
            continue;
        std::vector<double> list = differences(base->tasks.at(task), scores);
        for (const double difference : list) {
            const bool is_tie = std::abs(difference) < same_score;
            ++(is_tie ? compared.tied : difference > 0 ? compared.won : compared.lost);
        }
        if (!list.empty())
            lists.push_back(std::move(list));
    }
    if (lists.empty())
        return std::nullopt;
    compared.difference = estimate_of_groups(in_order(std::move(lists)));
    return compared;
}

/// All but the comparison.
ScoreRow row_of(const ScoredGroup& group, ScoredTask task, const Shares& shares)
{
    ScoreRow row;
    static_cast<GroupKey&>(row) = group;
    row.task = std::move(task);
    row.tasks = std::ssize(group.tasks);
    row.kept_percent = shares.percent(group.place);
    for (const Cell* cell : group.cells) {
        row.budget.add(cell->replay().budgets[cell->budget]);
        row.nominal.add(nominal_budget(*cell));
        row.retained += retained_share(*cell) / static_cast<double>(group.cells.size());
    }
    row.score = estimate_of_groups(by_task(group, &TaskScores::scores));
    row.dense = *estimate_of_groups(by_task(group, &TaskScores::dense)).mean.value;
    return row;
}

void Scoreboard::add_rows(const std::vector<CellGroup>& groups, std::size_t part, std::size_t metric, ScoredTask task,
    std::vector<ScoreRow>& rows)
{
    std::vector<ScoredGroup> all;
    for (const CellGroup& group : groups) {
        if (group.part == part)
            all.push_back(scored(group, metric));
    }
    std::erase_if(all, [](const ScoredGroup& group) { return group.tasks.empty(); });
    if (metric > 0 && !all.empty())
        task.metric = metrics_of(scores_.scoring(all.front().cells.front()->report))[metric]->name;
    for (const ScoredGroup& group : all) {
        ScoreRow& row = rows.emplace_back(row_of(group, task, shares_));
        if (!request_.baseline.empty())
            row.compared = compare(baseline_of(all, group, request_.baseline), group);
    }
}

/// Which of the columns that tell tasks apart people need to see.
struct Told
{
    bool benchmark = false, variant = false, max_length = false, match = false;
};

template <typename Rows> Told told(const Rows& rows)
{
    Told told;
    for (const auto& row : rows) {
        const ScoredTask &first = rows.front().task, &task = row.task;
        told.benchmark = told.benchmark || task.benchmark != first.benchmark;
        told.variant = told.variant || task.variant != first.variant;
        told.max_length = told.max_length || task.max_length != first.max_length;
        told.match = told.match || row.match != "both";
    }
    return told;
}

Value length_of(const ScoredTask& task)
{
    return task.max_length ? Value(*task.max_length) : Value();
}

std::vector<Column> row_columns(const Told& told, bool compared, bool by_needle)
{
    return {{"benchmark", told.benchmark}, {"variant", told.variant}, {"max_length", told.max_length}, {"task"},
        {"metric"}, {"length", by_needle}, {"depth", by_needle}, {"policy"}, {"match", told.match}, {"budget", false},
        {"kept_percent"}, {"nominal", false}, {"retained_share", false}, {"tasks", false}, {"samples"}, {"score"},
        {"score_sd", false}, {"score_low"}, {"score_high"}, {"percent", false}, {"dense_score"}, {"baseline", false},
        {"score_difference", compared}, {"score_difference_low", compared}, {"score_difference_high", compared},
        {"won", compared}, {"tied", compared}, {"lost", compared}};
}

std::vector<Column> sample_columns(bool several_reports, bool compared)
{
    return {{"report", several_reports}, {"prompt_id"}, {"seq_len", false}, {"benchmark", false}, {"variant", false},
        {"max_length", false}, {"task"}, {"metric"}, {"length", false}, {"depth", false}, {"policy"}, {"match"},
        {"budget"}, {"kept_percent", false}, {"nominal", false}, {"retained_share", false}, {"score"},
        {"needle_word_overlap", false}, {"dense_score"}, {"baseline", false}, {"score_difference", compared},
        {"answer", false}, {"dense_answer", false}, {"right_answers", false}};
}

std::string list_text(const std::vector<std::string>& texts)
{
    return nlohmann::json(texts).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Scoreboard::add_sample(const std::vector<ScoredGroup>& groups, const ScoredGroup& group, Table& table)
{
    const Cell& cell = *group.cells.front();
    const TraceInfo& trace = cell.report.trace;
    const ReportScoring& by = scores_.scoring(cell.report);
    const TaskScores& scores = group.tasks.begin()->second;
    const std::vector<const Metric*> metrics = metrics_of(by);
    const auto compared = compare(baseline_of(groups, group, request_.baseline), group);
    table.rows.push_back({cell.report.file, prompt_id(trace), trace.seq_len, by.task.benchmark, by.task.variant,
        length_of(by.task), by.task.task, by.task.metric, or_nothing(by.length), or_nothing(by.depth), group.policy,
        group.match, cell.replay().budgets[cell.budget], shares_.percent(group.place), nominal_budget(cell),
        retained_share(cell), scores.scores.front(),
        metrics.size() > 1 ? Value(scores_.of(cell, *metrics[1])) : Value(), scores.dense.front(),
        compared ? Value(request_.baseline) : Value(), compared ? or_nothing(compared->difference.mean.value) : Value(),
        answer_text(cell), dense_answer_text(cell.report), list_text(by.answers)});
}

Table Scoreboard::sample_table()
{
    Table table{sample_columns(places_.size() > 1, !request_.baseline.empty()), {}};
    std::map<std::size_t, std::vector<ScoredGroup>> by_prompt;
    for (const CellGroup& group : groups(&Place::prompt))
        by_prompt[group.part].push_back(scored(group, 0));
    for (const auto& [prompt, groups] : by_prompt) {
        for (const ScoredGroup& group : groups)
            add_sample(groups, group, table);
    }
    return table;
}

/// What a reader of the means should know.
std::vector<std::string> notes_on(const std::vector<ScoreRow>& rows)
{
    std::map<ScoredTask, std::int64_t> fewest; // samples of a row
    for (const ScoreRow& row : rows) {
        if (row.task.task != "all") {
            const auto place = fewest.try_emplace(row.task, row.score.mean.count).first;
            place->second = std::min(place->second, row.score.mean.count);
        }
    }
    std::map<ScoredTask, std::set<std::string>> tasks;
    std::map<std::string, std::int64_t> few;
    for (const auto& [task, count] : fewest) {
        tasks[all_tasks_of(task)].insert(task.task);
        if (count < few_samples) {
            std::int64_t& least = few.try_emplace(task.task.empty() ? task.metric : task.task, count).first->second;
            least = std::min(least, count);
        }
    }
    std::string list;
    for (const auto& [task, count] : few)
        list += (list.empty() ? "" : ", ") + task + " " + std::to_string(count);
    std::vector<std::string> notes;
    if (!few.empty())
        notes.push_back("few samples (" + list
            + "): of so few the intervals are narrower than they should be, and of one sample there is none");
    const auto lacks = [&](const ScoreRow& row) {
        return row.task.task == "all" && row.tasks < std::ssize(tasks[all_tasks_of(row.task)]);
    };
    if (std::ranges::any_of(rows, lacks))
        notes.push_back("some rows of all tasks are over some of the tasks only: the column tasks of --format csv says "
                        "over how many");
    return notes;
}

} // namespace

std::vector<ScoreRow> score_rows(std::span<const Cell> cells, const ReportScoreRequest& request)
{
    return Scoreboard(cells, request).rows();
}

Table score_table(std::span<const ScoreRow> rows, const ReportScoreRequest& request)
{
    Table table{row_columns(told(rows), !request.baseline.empty(), request.by == ScoreBy::needle), {}};
    for (const ScoreRow& row : rows) {
        const Mean& mean = row.score.mean;
        table.rows.push_back({row.task.benchmark, row.task.variant, length_of(row.task), row.task.task, row.task.metric,
            or_nothing(row.length), or_nothing(row.depth), row.policy, row.match, row.budget.value(), row.kept_percent,
            row.nominal.value(), row.retained, row.tasks, mean.count, or_nothing(mean.value),
            or_nothing(mean.deviation), or_nothing(row.score.low), or_nothing(row.score.high), percent_of(*mean.value),
            row.dense});
        std::vector<Value>& values = table.rows.back();
        if (const auto& compared = row.compared)
            values.insert(values.end(),
                {request.baseline, or_nothing(compared->difference.mean.value), or_nothing(compared->difference.low),
                    or_nothing(compared->difference.high), compared->won, compared->tied, compared->lost});
        else
            values.resize(table.columns.size());
    }
    return table;
}

ScoreResult score_reports(std::span<const Cell> cells, const ReportScoreRequest& request)
{
    Scoreboard board(cells, request);
    if (request.by == ScoreBy::sample)
        return {board.sample_table(), board.notes()};
    const std::vector<ScoreRow> rows = board.rows();
    std::vector<std::string> notes = board.notes();
    std::ranges::move(notes_on(rows), std::back_inserter(notes));
    return {score_table(rows, request), notes};
}

std::vector<Column> report_score_columns()
{
    std::vector<Column> columns = row_columns({}, true, true);
    std::ranges::move(sample_columns(true, true), std::back_inserter(columns));
    return columns;
}

} // namespace lava
