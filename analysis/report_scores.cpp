#include "analysis/report_scores.h"

#include "analysis/score_parts.h"
#include "analysis/scoring.h"
#include "base/error.h"
#include "base/program.h"
#include "base/sizes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace lava {

namespace {

using nlohmann::json;

std::string text_at(const json& scoring, const char* key)
{
    const auto found = scoring.find(key);
    return found != scoring.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<double> number_at(const json& object, const char* key)
{
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

/// Throws Error where it is no list of strings; an absent or null one is empty.
std::vector<std::string> texts_at(const ReplayReport& report, const json& scoring, const char* key)
{
    const json list = scoring.value(key, json());
    const bool fits = list.is_null()
        || (list.is_array() && std::ranges::all_of(list, [](const json& text) { return text.is_string(); }));
    if (!fits)
        throw Error(report.file + ": scoring: " + key + ": expected a list of strings, found "
            + printable(list.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 40)));
    return list.is_null() ? std::vector<std::string>() : list.get<std::vector<std::string>>();
}

json scoring_json(const ReplayReport& report)
{
    json scoring = recorded_scoring(report.trace);
    if (scoring.is_null())
        throw Error(report.file
            + ": does not say what its answers are scored by: expected a replay of a prompt that lava-prompts "
              "--benchmark made and lava-capture --prompts recorded");
    return scoring;
}

std::vector<std::int64_t> stop_ids(const json& scoring)
{
    const json stop = scoring.value("stop", json());
    std::vector<std::int64_t> ids;
    for (const json& id : stop.is_object() ? stop.value("ids", json::array()) : json::array()) {
        if (id.is_number_integer())
            ids.push_back(id.get<std::int64_t>());
    }
    return ids;
}

const Metric& metric_of(const ReplayReport& report, const std::string& name)
{
    if (name.empty())
        throw Error(report.file + ": its prompt names no metric; name one with --metric");
    if (const Metric* metric = find_metric(name))
        return *metric;
    throw Error(report.file + ": its prompt names the metric '" + printable(name)
        + "', which does not exist here; name one with --metric");
}

/// Whether `wanted` is so of the id at this place of any answer.
template <typename Wanted> bool any_answer_has(const ReplayReport& report, std::int64_t place, const Wanted& wanted)
{
    const auto length = report.closed_loop.generated_ids.size();
    const auto has = [&](const std::vector<std::int64_t>& answers) {
        for (std::size_t at = index(place); at < answers.size(); at += length) {
            if (wanted(answers[at]))
                return true;
        }
        return false;
    };
    return has(report.closed_loop.generated_ids)
        || std::ranges::any_of(
            report.policies, [&](const PolicyReplay& replay) { return has(replay.closed_loop.generated_ids); });
}

} // namespace

ReportScoring scoring_of(const ReplayReport& report, const std::string& metric)
{
    const json said = scoring_json(report);
    ReportScoring scoring;
    scoring.answers = texts_at(report, said, "answers");
    if (scoring.answers.empty())
        throw Error(report.file + ": its prompt has no right answers to score by");
    scoring.classes = texts_at(report, said, "all_classes");
    scoring.metric = &metric_of(report, metric.empty() ? text_at(said, "metric") : metric);
    if (scoring.metric->needs_classes && scoring.classes.empty())
        throw Error(report.file + ": " + scoring.metric->name
            + " needs all_classes, the names of all classes; its prompt has none");
    scoring.task
        = {text_at(said, "benchmark"), text_at(said, "variant"), {}, text_at(said, "task"), scoring.metric->name};
    if (const auto length = number_at(said, "max_length"))
        scoring.task.max_length = static_cast<std::int64_t>(*length);
    if (const auto length = number_at(said, "max_new_tokens"))
        scoring.max_new_tokens = static_cast<std::int64_t>(*length);
    scoring.stop_ids = stop_ids(said);
    const json record = said.value("record", json::object());
    scoring.length = number_at(record, "length");
    scoring.depth = number_at(record, "depth");
    return scoring;
}

const std::string& answer_text(const Cell& cell)
{
    dense_answer_text(cell.report); // a report has the texts of all its answers or of none
    return cell.replay().closed_loop.generated_texts[cell.budget];
}

const std::string& dense_answer_text(const ReplayReport& report)
{
    const ClosedLoopDense& dense = report.closed_loop;
    if (dense.generated_ids.empty())
        throw Error(
            report.file + ": holds no answers of the model: expected a replay with lava-replay --closed-loop --free");
    if (!dense.generated_text)
        throw Error(report.file
            + ": holds answers without their text: expected a replay by lava-replay --closed-loop --free of this "
              "version, with a --model that has a tokenizer");
    return *dense.generated_text;
}

bool cuts_answers(const ReplayReport& report, const ReportScoring& scoring)
{
    const ClosedLoopDense& dense = report.closed_loop;
    const std::int64_t length = std::ssize(dense.generated_ids);
    if (length == 0 || length >= scoring.max_new_tokens)
        return false;
    return any_answer_has(report, length - 1, [&](std::int64_t last) { // -1 stands behind an end
        return last >= 0 && std::ranges::count(dense.end_ids, last) == 0
            && std::ranges::count(scoring.stop_ids, last) == 0;
    });
}

bool exceeds_answers(const ReplayReport& report, const ReportScoring& scoring)
{
    const std::int64_t most = scoring.max_new_tokens;
    return most > 0 && std::ssize(report.closed_loop.generated_ids) > most
        && any_answer_has(report, most, [](std::int64_t id) { return id >= 0; });
}

std::vector<const Metric*> metrics_of(const ReportScoring& scoring)
{
    if (std::string_view(scoring.metric->name) == "needle_rouge_1")
        return {scoring.metric, find_metric("needle_word_overlap")};
    return {scoring.metric};
}

ReportScores::ReportScores(std::string metric, std::filesystem::path jieba)
    : metric_(std::move(metric))
    , jieba_(std::move(jieba))
{
    if (!metric_.empty())
        check_metric_option(metric_);
}

const ReportScoring& ReportScores::scoring(const ReplayReport& report)
{
    const auto [place, is_new] = scorings_.try_emplace(&report);
    if (is_new)
        place->second = scoring_of(report, metric_);
    return place->second;
}

double ReportScores::of(const Cell& cell, const Metric& metric)
{
    return score(cell.report, metric, answer_text(cell));
}

double ReportScores::of_dense(const ReplayReport& report, const Metric& metric)
{
    return score(report, metric, dense_answer_text(report));
}

double ReportScores::score(const ReplayReport& report, const Metric& metric, const std::string& text)
{
    const ReportScoring& by = scoring(report);
    const auto [place, is_new] = known_.try_emplace({&report, &metric, text}, 0.0);
    if (!is_new)
        return place->second;
    if (metric.cuts_words && !words_)
        words_ = jieba_words(metric, jieba_);
    try {
        place->second = lava::score(metric.name, by.task.task, text, by.answers, by.classes, words_.get());
    } catch (const Error& error) {
        throw Error(report.file + ": the right answers, for " + metric.name + ": " + error.what());
    }
    return place->second;
}

} // namespace lava
