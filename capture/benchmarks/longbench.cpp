#include "base/error.h"
#include "base/json_text.h"
#include "capture/benchmarks/longbench_tasks.h"
#include "capture/benchmarks/text_template.h"

#include <algorithm>
#include <optional>

namespace lava {

namespace {

using Json = nlohmann::json;

/// The benchmark's own dataset2prompt.json and dataset2maxlen.json, where a folder with them is given.
struct LongBenchConfig
{
    std::filesystem::path prompts_file, lengths_file;
    Json prompts, lengths;
};

Json read_object(const std::filesystem::path& file)
{
    Json json = parse_json(read_unpacked(file), file.string());
    if (!json.is_object()) {
        throw Error(file.string() + ": expected a JSON object, found something else");
    }
    return json;
}

std::optional<LongBenchConfig> read_config(const std::filesystem::path& folder)
{
    if (folder.empty()) {
        return {};
    }
    LongBenchConfig config{folder / "dataset2prompt.json", folder / "dataset2maxlen.json", {}, {}};
    config.prompts = read_object(config.prompts_file);
    config.lengths = read_object(config.lengths_file);
    return config;
}

const LongBenchTask& task_of(const Record& record)
{
    const std::string name = record.text("dataset");
    const auto tasks = longbench_tasks();
    const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.name == name; });
    if (found == tasks.end()) {
        std::string names;
        for (const auto& task : tasks) {
            names += (names.empty() ? "" : ", ") + std::string(task.name);
        }
        record.refuse("dataset: expected one of LongBench's (" + names + "), found " + shown(name));
    }
    return *found;
}

std::vector<std::string> classes_of(const Record& record, std::string_view metric)
{
    const bool absent = !record.has("all_classes") || record.value("all_classes").is_null();
    if (absent && metric != "classification") {
        return {};
    }
    return record.texts("all_classes");
}

std::string question_pattern(const LongBenchTask& task, bool kvpress)
{
    // where a record of lcc has an input, kvpress asks it and LongBench does not
    return kvpress && task.name == "lcc" ? "{input}" : std::string(task.question);
}

/// The benchmark's text of a record: template, or its three parts, with the record in it.
Sample sample_of(
    const Record& record, const LongBenchTask& task, const std::optional<LongBenchConfig>& config, bool kvpress)
{
    Sample sample;
    const std::string context = record.text("context");
    std::string input = record.text("input");
    std::string moved;
    if (kvpress && input.ends_with(task.moved)) {
        input.resize(input.size() - task.moved.size());
    }
    if (kvpress) {
        moved = task.moved;
    }
    const TemplateFields fields{{"context", context}, {"input", input}};
    const auto use = [&](const std::string& pattern) {
        FilledTemplate filled = fill(pattern, fields);
        for (auto& field : filled.fields) {
            const std::size_t before = sample.text.size();
            sample.ranges.push_back({field.name == "input" ? "question" : field.name,
                {field.bytes.begin + before, field.bytes.end + before}});
        }
        sample.text += filled.text;
    };
    if (config) {
        const std::string name(task.name);
        if (!config->prompts.contains(name) || !config->prompts[name].is_string()) {
            throw Error(config->prompts_file.string() + ": " + name + ": expected a template, found none");
        }
        use(config->prompts[name].get<std::string>());
    } else {
        use(std::string(task.context));
        sample.question_begin = sample.text.size();
        use(question_pattern(task, kvpress));
        if (!kvpress) {
            use(std::string(task.answer));
        }
    }
    sample.answer_prefix = kvpress ? std::string(task.answer) + moved : "";
    return sample;
}

std::int64_t length_of(const LongBenchTask& task, const std::optional<LongBenchConfig>& config)
{
    if (!config) {
        return task.max_new_tokens;
    }
    const auto found = config->lengths.find(task.name);
    if (found == config->lengths.end() || !found->is_number_integer() || *found < 1) {
        throw Error(config->lengths_file.string() + ": " + std::string(task.name)
            + ": expected a number of tokens, found none");
    }
    return found->get<std::int64_t>();
}

} // namespace

std::vector<Sample> longbench_samples(const SampleRequest& request)
{
    const auto config = read_config(request.config);
    std::vector<Sample> samples;
    for (const auto& file : request.records) {
        for (const Record& record : read_records(file)) {
            const LongBenchTask& task = task_of(record);
            Sample sample = sample_of(record, task, config, request.is_kvpress());
            sample.task = task.name;
            sample.where = record.where();
            sample.file = record.file_name();
            sample.line = record.line();
            sample.answers = sample.places = record.texts("answers");
            sample.all_classes = classes_of(record, task.metric);
            sample.metric = task.metric;
            // kvpress lets every answer be 20 tokens longer
            sample.max_new_tokens = length_of(task, config) + (request.is_kvpress() ? 20 : 0);
            sample.chat = request.is_kvpress() || task.chat;
            sample.cut = request.is_kvpress() ? Cut::context_head : Cut::halves;
            // LongBench ends samsum's answers there: models go on with the next dialogue
            sample.newline_stops = !request.is_kvpress() && task.name == "samsum";
            sample.min_new_tokens = sample.newline_stops ? 1 : 0;
            samples.push_back(std::move(sample));
        }
    }
    return samples;
}

} // namespace lava
