#include "base/error.h"
#include "base/formatted.h"
#include "capture/benchmarks/infinitebench_tasks.h"
#include "capture/benchmarks/text_template.h"

#include <algorithm>
#include <cctype>

namespace lava {

namespace {

/// A record with everything that templates may ask for.
struct Filling
{
    std::string context, input, prefix, function, call;
    std::vector<std::string> options;

    TemplateFields fields() const
    {
        TemplateFields fields{{"context", context}, {"input", input}, {"question", input}, {"prefix", prefix},
            {"func", function}, {"func_call", call}};
        constexpr std::array<std::string_view, 4> names{"OPTION_A", "OPTION_B", "OPTION_C", "OPTION_D"};
        for (std::size_t i = 0; i < options.size(); ++i) {
            fields.emplace_back(names[i], options[i]);
        }
        return fields;
    }
};

const InfiniteBenchTask& task_of(const SampleRequest& request, const std::filesystem::path& file)
{
    const std::string name = file.filename().string();
    for (const std::string& candidate : {request.task, name.substr(0, name.find('.'))}) {
        const auto tasks = infinitebench_tasks();
        const auto found
            = std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.name == candidate; });
        if (found != tasks.end()) {
            return *found;
        }
    }
    throw Error(file.string()
        + ": expected a file named after one of InfiniteBench's tasks (passkey, ..., longdialogue_qa_eng), or --task, "
          "found neither");
}

std::size_t skip_digits(std::string_view text, std::size_t at)
{
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) {
        ++at;
    }
    return at;
}

/// The first func_12(-3) of a question.
std::string call_of(const Record& record, std::string_view input)
{
    constexpr std::string_view name = "func_";
    for (std::size_t at = 0; (at = input.find(name, at)) != std::string_view::npos; ++at) {
        const std::size_t open = skip_digits(input, at + name.size());
        if (open == at + name.size() || open >= input.size() || input[open] != '(') {
            continue;
        }
        const std::size_t number = open + 1 + (open + 1 < input.size() && input[open + 1] == '-' ? 1 : 0);
        const std::size_t close = skip_digits(input, number);
        if (close > number && close < input.size() && input[close] == ')') {
            return std::string(input.substr(at, close + 1 - at));
        }
    }
    record.refuse("input: expected the call of a function (func_1(2)), found " + shown(input));
}

/// "The largest number of the list is:" asks for "the largest number".
std::string wanted_number(const Record& record, std::string_view input)
{
    constexpr std::string_view opening = "The ", closing = " of";
    for (std::size_t at = 0; (at = input.find(opening, at)) != std::string_view::npos; ++at) {
        const std::string_view line = input.substr(at, input.find('\n', at) - at);
        const std::size_t end = line.rfind(closing);
        if (end != std::string_view::npos && end > opening.size()) {
            std::string words(line.substr(0, end));
            std::transform(words.begin(), words.end(), words.begin(),
                [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
            return words;
        }
    }
    record.refuse("input: expected the number that is asked for (\"The largest number of\"), found " + shown(input));
}

bool is_choice(std::string_view task)
{
    return task == "longbook_choice_eng" || task == "code_debug";
}

Filling filling_of(const Record& record, std::string_view task)
{
    Filling filling;
    filling.context = record.text("context");
    filling.input = record.text("input");
    if (task == "code_run") {
        filling.call = call_of(record, filling.input);
        filling.function = filling.call.substr(0, filling.call.find('('));
    }
    if (task == "math_find") {
        filling.prefix = "What is " + wanted_number(record, filling.input) + " in the following list?";
    }
    if (is_choice(task)) {
        filling.options = record.texts("options");
        if (filling.options.size() != 4) {
            record.refuse(formatted("options: expected 4, found {}", filling.options.size()));
        }
    }
    return filling;
}

/// What InfiniteBench compares with: of a choice, the option and its letter.
std::vector<std::string> answers_of(const Record& record, std::string_view task, const Filling& filling)
{
    std::vector<std::string> answers = record.has("answer") && record.value("answer").is_string()
        ? std::vector<std::string>{record.text("answer")}
        : record.texts("answer");
    if (!is_choice(task)) {
        return answers;
    }
    const auto option = std::find(filling.options.begin(), filling.options.end(), answers.front());
    if (answers.size() == 1 && option != filling.options.end()) {
        answers.emplace_back(1, static_cast<char>('A' + (option - filling.options.begin())));
    }
    if (answers.size() != 2 || answers[1].size() != 1 || answers[1] < "A" || answers[1] > "D") {
        record.refuse("answer: expected one of the options, found " + shown(answers.front()));
    }
    return answers;
}

void replace_all(std::string& text, std::string_view from, std::string_view to)
{
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
        text.replace(at, from.size(), to);
    }
}

void append(Sample& sample, const FilledTemplate& filled)
{
    for (const TextRange& field : filled.fields) {
        const std::string name = field.name == "input" ? "question" : field.name;
        if (name == "context" || name == "question") {
            const std::size_t before = sample.text.size();
            sample.ranges.push_back({name, {field.bytes.begin + before, field.bytes.end + before}});
        }
    }
    sample.text += filled.text;
}

void official_text(Sample& sample, const InfiniteBenchTask& task, const Filling& filling)
{
    append(sample, fill(task.prompt, filling.fields()));
    sample.max_new_tokens = task.max_new_tokens;
    sample.cut = Cut::joined_halves;
}

/// kvpress's context, question and answer prefix.
void kvpress_text(Sample& sample, const InfiniteBenchTask& task, const Filling& filling)
{
    FilledTemplate context = fill(task.context, filling.fields());
    if (task.name == "math_find") { // its last words, asked in the question again, are taken out of the context
        std::erase_if(context.fields, [](const TextRange& field) { return field.name == "input"; });
        replace_all(context.text,
            "You should answer with only one number, no other words. The largest number of the list is:", "");
    }
    append(sample, context);
    sample.question_begin = sample.text.size();
    FilledTemplate question = fill(task.question, filling.fields());
    if (task.name == "kv_retrieval") { // said by the answer prefix
        replace_all(question.text, "The value associated with the specified key is:", "");
        question.fields = {{"question", {0, question.text.size()}}};
    }
    append(sample, question);
    sample.answer_prefix = task.answer;
    sample.max_new_tokens = task.max_new_tokens + 20;
    sample.chat = true;
    sample.cut = Cut::context_head;
}

/// The line that plants what is asked for.
void add_needle(Sample& sample)
{
    const auto context = std::find_if(
        sample.ranges.begin(), sample.ranges.end(), [](const TextRange& range) { return range.name == "context"; });
    const bool planted = sample.task == "passkey" || sample.task == "number_string";
    const auto answer = planted && context != sample.ranges.end()
        ? find_words(sample.text, sample.answers.front(), context->bytes.begin)
        : std::nullopt;
    if (answer && answer->end <= context->bytes.end) {
        const std::size_t before = sample.text.rfind('\n', answer->begin);
        const std::size_t begin = before == std::string::npos ? 0 : before + 1;
        sample.ranges.push_back({"needle", {begin, std::min(sample.text.find('\n', begin), context->bytes.end)}});
    }
}

} // namespace

std::vector<Sample> infinitebench_samples(const SampleRequest& request)
{
    std::vector<Sample> samples;
    for (const auto& file : request.records) {
        const InfiniteBenchTask& task = task_of(request, file);
        for (const Record& record : read_records(file)) {
            const Filling filling = filling_of(record, task.name);
            Sample sample;
            sample.task = task.name;
            sample.where = record.where();
            sample.file = record.file_name();
            sample.line = record.line();
            sample.answers = sample.places = answers_of(record, task.name, filling);
            if (is_choice(task.name)) {
                sample.places.resize(1);
            }
            (request.is_kvpress() ? kvpress_text : official_text)(sample, task, filling);
            sample.metric = "infinitebench_" + sample.task;
            add_needle(sample);
            samples.push_back(std::move(sample));
        }
    }
    return samples;
}

} // namespace lava
