#include "analysis/score.h"

#include "analysis/means.h"
#include "analysis/predictions.h"
#include "analysis/score_parts.h"
#include "base/error.h"
#include "base/program.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <tuple>

namespace lava {

namespace {

std::string names_of(std::span<const Task> all)
{
    std::string names;
    for (const Task& one : all)
        names += (names.empty() ? "" : ", ") + std::string(one.name);
    return names;
}

/// The first part between dots that names a data set: "trec.jsonl", "preds_passkey.jsonl", "gpt4.passkey.jsonl.gz".
std::string dataset_named_by(const std::filesystem::path& file)
{
    std::string name = file.filename().string();
    for (std::size_t begin = 0; begin < name.size();) {
        const std::size_t end = std::min(name.find('.', begin), name.size());
        std::string part = name.substr(begin, end - begin);
        if (part.starts_with("preds_"))
            part.erase(0, 6);
        if (find_task(part))
            return part;
        begin = end + 1;
    }
    return "";
}

/// A sample and what it scores.
struct ScoredSample
{
    std::string file;
    std::int64_t line = 0;
    nlohmann::json id;
    std::string dataset;
    const Metric* metric = nullptr;
    double score = 0;
    std::optional<double> word_overlap; ///< of the needle's

    auto group() const { return std::tuple(file, dataset, std::string_view(metric->name)); }
};

class Scorer
{
public:
    explicit Scorer(const ScoreRequest& request)
        : request_(request)
    {
        if (!request.dataset.empty() && !find_task(request.dataset))
            throw UsageError("--dataset: expected one of " + names_of(tasks()) + "; found '" + request.dataset + "'");
        if (!request.metric.empty())
            check_metric_option(request.metric);
    }

    void add(const std::filesystem::path& file)
    {
        const std::string named = dataset_named_by(file);
        const std::size_t before = samples_.size();
        for_each_prediction(file, [&](const Prediction& prediction) { add(file, named, prediction); });
        if (samples_.size() == before)
            throw Error(file.string() + " holds no predictions");
    }

    const std::vector<ScoredSample>& samples() const { return samples_; }
    /// Lines that have no answer to be right, or none that could be.
    const std::map<std::string, std::int64_t>& unanswerable() const { return unanswerable_; }

private:
    std::string dataset_of(
        const std::filesystem::path& file, const std::string& named, const Prediction& prediction) const
    {
        const std::string& own = prediction.dataset;
        if (!request_.dataset.empty() && !own.empty() && find_task(own) != find_task(request_.dataset))
            throw Error("is a prediction of the data set '" + printable(own) + "', not of " + request_.dataset
                + " as --dataset says");
        if (!request_.dataset.empty())
            return request_.dataset;
        const std::string& dataset = own.empty() ? named : own;
        if (request_.metric.empty() && dataset.empty())
            throw Error("names no data set, and neither does the name of " + file.filename().string()
                + ": name it with --dataset, or a metric with --metric");
        if (request_.metric.empty() && !find_task(dataset))
            throw Error("the data set '" + printable(dataset) + "' has no metric here; expected one of "
                + names_of(tasks()) + ", or name a metric with --metric");
        return dataset;
    }

    void add(const std::filesystem::path& file, const std::string& named, const Prediction& prediction)
    {
        const std::string dataset = dataset_of(file, named, prediction);
        const Task* task = find_task(dataset);
        const Metric& metric = *find_metric(request_.metric.empty() ? task->metric : request_.metric.c_str());
        if (metric.needs_classes && prediction.classes.empty())
            throw Error(std::string(metric.name) + " needs all_classes, the names of all classes; found none");
        if (metric.cuts_words && !words_)
            words_ = jieba_words(metric, request_.jieba);
        ScoredSample sample{file.string(), prediction.line, prediction.id, dataset, &metric, 0, {}};
        try {
            sample.score = score(metric, task, prediction.text, prediction.answers, prediction.classes, words_.get());
        } catch (const Error& error) {
            throw Error("the right answers, for " + std::string(metric.name) + ": " + error.what());
        }
        if (std::string_view(metric.name) == "needle_rouge_1")
            sample.word_overlap
                = score(*find_metric("needle_word_overlap"), nullptr, prediction.text, prediction.answers, {}, nullptr);
        if (prediction.answers.is_array() && prediction.answers.empty())
            ++unanswerable_["no right answer: the official scorer gives 0 for it"];
        if (std::string_view(metric.name) == "infinitebench_kv_retrieval" && !prediction.answers.is_string())
            ++unanswerable_["a ground_truth that is no string, which the official scorer of kv_retrieval never finds"];
        samples_.push_back(std::move(sample));
    }

    const ScoreRequest& request_;
    std::unique_ptr<ChineseWords> words_;
    std::vector<ScoredSample> samples_;
    std::map<std::string, std::int64_t> unanswerable_;
};

Value value_of(const nlohmann::json& id)
{
    if (id.is_null())
        return {};
    if (id.is_number_integer() && !(id.is_number_unsigned() && id.get<std::uint64_t>() >> 63 != 0))
        return id.get<std::int64_t>();
    return id.is_string() ? id.get<std::string>() : id.dump();
}

Table sample_table(const std::vector<ScoredSample>& samples, bool several_files)
{
    const bool overlap
        = std::ranges::any_of(samples, [](const ScoredSample& one) { return one.word_overlap.has_value(); });
    Table table{{{"file", several_files}, {"line"}, {"id"}, {"dataset"}, {"metric"}, {"score"}}, {}};
    if (overlap)
        table.columns.push_back({"needle_word_overlap"});
    for (const ScoredSample& one : samples) {
        table.rows.push_back({one.file, one.line, value_of(one.id), one.dataset, one.metric->name, one.score});
        if (overlap)
            table.rows.back().push_back(one.word_overlap ? Value(*one.word_overlap) : Value());
    }
    return table;
}

struct ScoreGroup
{
    const ScoredSample* first = nullptr;
    const char* metric = nullptr;
    std::vector<double> scores;
};

std::vector<ScoreGroup> groups_of(const std::vector<ScoredSample>& samples)
{
    std::vector<ScoreGroup> groups;
    std::map<decltype(samples.front().group()), std::size_t> places;
    for (const ScoredSample& one : samples) {
        const auto [at, added] = places.try_emplace(one.group(), groups.size());
        if (added) {
            groups.push_back({&one, one.metric->name, {}});
            if (one.word_overlap)
                groups.push_back({&one, "needle_word_overlap", {}});
        }
        groups[at->second].scores.push_back(one.score);
        if (one.word_overlap)
            groups[at->second + 1].scores.push_back(*one.word_overlap);
    }
    return groups;
}

Table summary_of(const std::vector<ScoreGroup>& groups, bool several_files)
{
    Table table{{{"file", several_files}, {"dataset"}, {"metric"}, {"samples"}, {"score"}, {"score_sd"}, {"score_low"},
                    {"score_high"}, {"percent"}},
        {}};
    for (const ScoreGroup& group : groups) {
        const Estimate mean = estimate_of(group.scores);
        table.rows.push_back({group.first->file, group.first->dataset, group.metric, mean.mean.count,
            or_nothing(mean.mean.value), or_nothing(mean.mean.deviation), or_nothing(mean.low), or_nothing(mean.high),
            percent_of(*mean.mean.value)});
    }
    return table;
}

} // namespace

std::vector<Column> prediction_score_columns()
{
    std::vector<Column> columns = summary_of({}, true).columns;
    std::ranges::move(sample_table({}, true).columns, std::back_inserter(columns));
    columns.push_back({"needle_word_overlap"});
    return columns;
}

ScoreResult score_predictions(const ScoreRequest& request)
{
    Scorer scorer(request);
    std::set<std::filesystem::path> files;
    for (const std::filesystem::path& file : request.predictions) {
        if (!files.insert(std::filesystem::weakly_canonical(file)).second)
            throw UsageError("--predictions: " + file.string() + " is given twice, and would count twice");
        scorer.add(file);
    }
    const bool several_files = request.predictions.size() > 1;
    ScoreResult result;
    for (const auto& [reason, count] : scorer.unanswerable())
        result.notes.push_back(samples_text(count) + (count == 1 ? " has " : " have ") + reason);
    if (request.by_sample) {
        result.table = sample_table(scorer.samples(), several_files);
        return result;
    }
    const std::vector<ScoreGroup> groups = groups_of(scorer.samples());
    result.table = summary_of(groups, several_files);
    for (const ScoreGroup& group : groups) {
        if (std::ssize(group.scores) < few_samples)
            result.notes.push_back(group.first->file + ": " + group.first->dataset
                + (group.first->dataset.empty() ? "" : ": ") + group.metric + ": "
                + samples_text(std::ssize(group.scores))
                + (group.scores.size() == 1 ? ": no interval can be given"
                                            : " are few: the interval is narrower than it should be"));
    }
    return result;
}

} // namespace lava
