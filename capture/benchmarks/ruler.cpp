#include "base/error.h"
#include "capture/benchmarks/sample.h"
#include "capture/benchmarks/text_template.h"

#include <algorithm>
#include <array>

namespace lava {

namespace {

/// A kind of task of RULER (Hsieh et al. 2024, arXiv:2404.06654), and the phrases that its prompts are made of.
struct RulerKind
{
    std::string_view name; ///< of the task, up to the first "_"
    std::array<std::string_view, 2> beginnings;
    std::array<std::string_view, 2> questions;
    std::string_view answer; ///< first words of the answer prefix
    std::int64_t max_new_tokens;
    std::string_view metric;
};

constexpr auto kinds = std::to_array<RulerKind>({
    {"niah", {"Some special magic ", "A special magic "},
        {"What are all the special magic ", "What is the special magic "}, "The special magic ", 128,
        "string_match_all"},
    {"vt", {"Memorize and track the chain(s) of variable assignment "},
        {"Question: Find all variables that are assigned the value "}, "Answer:", 30, "string_match_all"},
    {"cwe", {"Below is a numbered list of words."}, {"Question: What are the 10 most common words in the above list?"},
        "Answer:", 120, "string_match_all"},
    {"fwe", {"Read the following coded text "}, {"Question: Do not provide any explanation."}, "Answer:", 50,
        "string_match_all"},
    {"qa", {"Answer the question based on the given documents."}, {"Answer the question based on the given documents."},
        "Answer:", 32, "string_match_part"},
});

constexpr auto ruler_tasks = std::to_array<std::string_view>(
    {"niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
        "niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2"});

bool is_task(std::string_view name)
{
    return std::find(ruler_tasks.begin(), ruler_tasks.end(), name) != ruler_tasks.end();
}

/// TASK.jsonl, TASK.ANYTHING.jsonl.gz, or TASK/validation.jsonl as RULER itself names its files.
std::string ruler_task_of(const SampleRequest& request, const std::filesystem::path& file)
{
    const std::string name = file.filename().string();
    const std::string folder = std::filesystem::absolute(file).parent_path().filename().string();
    for (const std::string& candidate : {request.task, name.substr(0, name.find('.')), folder}) {
        if (is_task(candidate)) {
            return candidate;
        }
    }
    throw Error(file.string()
        + ": expected a file or folder named after one of RULER's tasks (niah_single_1, ..., qa_2), "
          "or --task, found neither");
}

const RulerKind& kind_of(std::string_view task)
{
    return *std::find_if(
        kinds.begin(), kinds.end(), [&](const RulerKind& kind) { return kind.name == task.substr(0, task.find('_')); });
}

/// Where the question, asked last, begins.
std::size_t question_at(const Record& record, const RulerKind& kind, std::string_view text)
{
    std::size_t at = std::string_view::npos;
    for (const std::string_view question : kind.questions) {
        const std::size_t found = question.empty() ? std::string_view::npos : text.rfind(question);
        at = at == std::string_view::npos ? found : found == std::string_view::npos ? at : std::max(at, found);
    }
    if (at == std::string_view::npos || at == 0) {
        record.refuse(
            "input: expected RULER's question (" + shown(kind.questions[0]) + "), found none: it was left out");
    }
    return at;
}

void check_beginning(const Record& record, const RulerKind& kind, std::string_view text)
{
    const auto begins = [&](std::string_view words) { return !words.empty() && text.starts_with(words); };
    if (!std::any_of(kind.beginnings.begin(), kind.beginnings.end(), begins)) {
        record.refuse("input: expected a text that begins " + shown(kind.beginnings[0])
            + ", without any model's chat template, found " + shown(text));
    }
}

/// Where each answer stands, with the sentence or line around it that plants it.
void add_needles(Sample& sample, std::string_view kind, std::string_view context)
{
    for (const std::string& answer : sample.answers) {
        const std::string planted = kind == "vt" ? "VAR " + answer + " = " : " is: " + answer;
        const std::size_t at = kind == "niah" || kind == "vt" ? context.find(planted) : std::string_view::npos;
        if (at == std::string_view::npos) {
            continue;
        }
        const std::size_t begin = kind == "vt" ? at : context.rfind("One of the special magic ", at);
        if (begin == std::string_view::npos) {
            continue;
        }
        const std::size_t stop = context.find_first_of(kind == "vt" ? "\n" : ".", at + planted.size());
        const std::size_t end = stop == std::string_view::npos ? context.size() : stop + (kind == "vt" ? 0 : 1);
        sample.ranges.push_back({"needle", {begin, end}});
    }
}

Sample sample_of(const Record& record, const std::string& task)
{
    const RulerKind& kind = kind_of(task);
    Sample sample;
    sample.task = task;
    sample.text = record.text("input");
    sample.answers = sample.places = record.texts("outputs");
    check_beginning(record, kind, sample.text);
    sample.question_begin = question_at(record, kind, sample.text);
    if (record.has("answer_prefix")) {
        sample.answer_prefix = record.text("answer_prefix");
    }
    if (sample.answer_prefix.empty()) { // the older format: it ends the input
        const std::size_t at = sample.text.find(kind.answer, sample.question_begin + 1);
        if (at == std::string::npos) {
            record.refuse("expected the answer prefix (" + shown(kind.answer)
                + ") in answer_prefix or at the end of input, found it in neither");
        }
        const std::size_t begin = at - (sample.text[at - 1] == ' ' ? 1 : 0);
        sample.answer_prefix = sample.text.substr(begin);
        sample.text.resize(begin);
    }
    sample.ranges.push_back({"context", {0, sample.question_begin}});
    sample.ranges.push_back({"question", {sample.question_begin, sample.text.size()}});
    add_needles(sample, kind.name, std::string_view(sample.text).substr(0, sample.question_begin));
    sample.max_new_tokens = kind.max_new_tokens;
    sample.metric = kind.metric;
    return sample;
}

/// kvpress cuts before the answer's first word: the space in front of it belongs to the question.
void as_kvpress(Sample& sample)
{
    if (sample.answer_prefix.starts_with(' ')) {
        sample.text += ' ';
        sample.answer_prefix.erase(0, 1);
    }
    sample.chat = true;
    sample.cut = Cut::context_head;
}

} // namespace

std::vector<Sample> ruler_samples(const SampleRequest& request)
{
    std::vector<Sample> samples;
    for (const auto& file : request.records) {
        const std::string task = ruler_task_of(request, file);
        for (const Record& record : read_records(file)) {
            Sample sample = sample_of(record, task);
            sample.where = record.where();
            sample.file = record.file_name();
            sample.line = record.line(); // a record's index is, in some tasks, the place of its answer in the text
            if (request.is_kvpress()) {
                as_kvpress(sample);
            }
            samples.push_back(std::move(sample));
        }
    }
    return samples;
}

} // namespace lava
