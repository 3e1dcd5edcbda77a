#include "capture/benchmarks/benchmark_prompts.h"

#include "base/formatted.h"
#include "base/output_file.h"
#include "base/output_guard.h"
#include "base/program.h"
#include "capture/benchmarks/sample_encoder.h"
#include "model/config.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>

namespace lava {

namespace {

using OrderedJson = nlohmann::ordered_json;

/// Tokens that the model can be run on; nothing, with a note, where its folder does not say.
std::optional<std::int64_t> context_length(const std::filesystem::path& model)
{
    try {
        return read_model_config(model).context_length;
    } catch (const Error& error) {
        std::cerr << "lava-prompts: note: prompts are not compared with the model's context: " << error.what() << '\n';
        return {};
    }
}

std::string id_of(const Sample& sample, std::int64_t number)
{
    std::ostringstream id;
    id << sample.task << '-';
    if (sample.id_suffix.empty()) {
        id << std::setfill('0') << std::setw(4) << number;
    } else {
        id << sample.id_suffix;
    }
    return id.str();
}

/// When an answer is over: at the model's own end of text, and at a line break where the benchmark says so.
OrderedJson stop_rule(const Sample& sample, const Tokenizer& tokenizer)
{
    auto ids = OrderedJson::array();
    if (sample.newline_stops) {
        ids.push_back(tokenizer.encode("\n", false).ids.back());
    }
    return {{"eos", true}, {"ids", ids}, {"min_new_tokens", sample.min_new_tokens}};
}

/// Where the sample came from.
OrderedJson record_of(const Sample& sample)
{
    if (sample.line > 0) {
        return {{"file", sample.file}, {"line", sample.line}};
    }
    return {{"file", sample.file}, {"length", sample.needle_length}, {"depth", sample.needle_depth}};
}

OrderedJson spans_json(const std::vector<Span>& spans)
{
    auto json = OrderedJson::array();
    for (const Span& span : spans) {
        json.push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end}});
    }
    return json;
}

/// One line of the file.
OrderedJson line_of(const BenchmarkCommand& command, const std::string& id, const Sample& sample,
    const EncodedSample& encoded, const Tokenizer& tokenizer)
{
    OrderedJson line{{"id", id}, {"benchmark", command.request.benchmark}, {"variant", command.request.variant},
        {"task", sample.task}};
    line["chat_template"] = encoded.chat;
    line["max_length"] = command.max_length ? OrderedJson(*command.max_length) : OrderedJson();
    line["uncut_tokens"] = encoded.uncut_tokens > 0 ? OrderedJson(encoded.uncut_tokens) : OrderedJson();
    line["record"] = record_of(sample);
    line["answers"] = sample.answers;
    line["all_classes"] = sample.all_classes.empty() ? OrderedJson() : OrderedJson(sample.all_classes);
    line["max_new_tokens"] = sample.max_new_tokens;
    line["metric"] = sample.metric;
    line["stop"] = stop_rule(sample, tokenizer);
    line["spans"] = spans_json(encoded.spans);
    line["ids"] = encoded.ids;
    return line;
}

/// The text of `ids`; what a terminal would obey as '?'.
std::string text_of(const std::string& id, const std::vector<std::int64_t>& ids, const Tokenizer& tokenizer)
{
    std::string text;
    for (const std::int64_t token : ids) {
        text += tokenizer.token_bytes(token);
    }
    std::istringstream lines(text);
    std::string result = formatted("== {}, {} tokens\n", id, ids.size());
    for (std::string line; std::getline(lines, line);) {
        result += printable(line) + "\n";
    }
    return result;
}

/// What was written, for one line on stdout.
struct Summary
{
    std::int64_t prompts = 0, cut = 0, shortest = 0, longest = 0;

    void add(const EncodedSample& encoded)
    {
        const auto length = std::ssize(encoded.ids);
        shortest = prompts == 0 ? length : std::min(shortest, length);
        longest = std::max(longest, length);
        cut += encoded.uncut_tokens > 0 ? 1 : 0;
        ++prompts;
    }
};

void print_summary(const BenchmarkCommand& command, const Summary& summary)
{
    std::cout << command.output.string() << ": " << summary.prompts << " prompts of " << command.request.benchmark
              << " (" << command.request.variant << ") of " << summary.shortest << " to " << summary.longest
              << " tokens";
    if (summary.cut > 0) {
        std::cout << ", " << summary.cut << " of them cut to --max-length " << *command.max_length;
    }
    std::cout << '\n';
}

/// The first samples of each task, numbered.
std::vector<std::pair<std::string, Sample>> chosen(const BenchmarkCommand& command, std::vector<Sample> samples)
{
    std::map<std::string, std::int64_t> counts;
    std::vector<std::pair<std::string, Sample>> result;
    for (Sample& sample : samples) {
        const std::int64_t number = counts[sample.task]++;
        if (!command.samples || number < *command.samples) {
            result.emplace_back(id_of(sample, number), std::move(sample));
        }
    }
    return result;
}

void check_files(const BenchmarkCommand& command)
{
    auto inputs = files_of_model(command.model);
    inputs.insert(inputs.end(), command.request.records.begin(), command.request.records.end());
    for (const char* name : {"dataset2prompt.json", "dataset2maxlen.json"}) {
        inputs.push_back(command.request.config.empty() ? "" : command.request.config / name);
    }
    refuse_same_files({&command.output, 1}, inputs);
}

} // namespace

void make_benchmark_prompts(const BenchmarkCommand& command)
{
    check_request(command.request);
    check_files(command);
    const auto tokenizer = read_tokenizer(command.model);
    if (command.request.chat == true && !tokenizer->has_chat_template()) {
        throw Error("--chat: " + command.model.string() + ": expected a chat template, found none");
    }
    const OfficialDecoder decoder(*tokenizer, command.model);
    const SampleEncoder encoder(decoder, command.model, command.max_length, context_length(command.model));
    Summary summary;
    std::string lines, texts;
    for (const auto& [id, sample] : chosen(command, make_samples(command.request, decoder))) {
        try {
            const EncodedSample encoded = encoder.encode(sample);
            lines += line_of(command, id, sample, encoded, *tokenizer).dump() + "\n";
            summary.add(encoded);
            if (command.print) {
                texts += text_of(id, encoded.ids, *tokenizer);
            }
        } catch (const TooLong& error) {
            if (!command.skip_longer) {
                throw;
            }
            std::cerr << "lava-prompts: note: left out: " << error.what() << '\n';
        }
    }
    if (summary.prompts == 0) {
        throw Error("--skip-longer: expected at least one prompt that fits, found none");
    }
    std::cout << texts;
    if (!command.output.empty()) {
        write_text_file(command.output, lines);
        print_summary(command, summary);
    }
}

} // namespace lava
