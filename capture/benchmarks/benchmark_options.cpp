#include "capture/benchmarks/benchmark_options.h"

#include "base/error.h"
#include "base/formatted.h"

#include <charconv>
#include <cmath>
#include <iomanip>
#include <sstream>
#include <vector>

namespace lava {

namespace po = boost::program_options;

namespace {

const char* const notes = R"(
Each line has the ids that the model reads, what it is scored by (answers, all_classes, metric), when an answer is
over (max_new_tokens, stop) and the places of context, question, needle and answer in tokens (spans).

official: the prompts of the benchmarks' own code. LongBench is asked in the model's chat template, but for trec,
  triviaqa, samsum, lsht, lcc and repobench-p; the others are not, but for --chat. A template that spells the token
  that begins every text is not given a second one, as released runners do. RULER's files are named after their task
  (niah_single_1.jsonl, or niah_single_1/validation.jsonl); index is not read, since it is a sample's number in some
  tasks and the place of the answer in others; records without question or answer prefix, or with a model's chat
  template baked into input, are refused. Needle prompts open with "<|im_start|>" whatever the model, as in the
  released runners, but for --chat; the token that begins every text is not planted with the needle, as it is there.
kvpress: context and question tokenized apart (span context: what is compressed), --max-length cuts the context's
  end off, everything in the chat template, LongBench's and InfiniteBench's answers 20 tokens longer. A template with
  enable_thinking (Qwen3's), which kvpress turns off, is refused, but for --no-chat.
)";

std::string text_of(const po::variables_map& values, const char* option)
{
    return values.contains(option) ? values[option].as<std::string>() : std::string();
}

[[noreturn]] void refuse(const char* option, const std::string& expected, const std::string& found)
{
    throw UsageError("--" + std::string(option) + ": expected " + expected + ", found " + shown(found));
}

std::vector<std::string> items_of(const std::string& list)
{
    std::vector<std::string> items;
    std::istringstream stream(list);
    for (std::string item; std::getline(stream, item, ',');) {
        items.push_back(item);
    }
    return items;
}

std::vector<double> numbers(const po::variables_map& values, const char* option, double least, double most, bool whole)
{
    std::vector<double> result;
    for (const std::string& item : items_of(text_of(values, option))) {
        double value = -1;
        const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), value);
        const bool fits = error == std::errc() && end == item.data() + item.size() && value >= least && value <= most
            && !std::signbit(value);
        if (!fits || (whole && value != std::floor(value))) {
            std::ostringstream expected;
            expected << (whole ? "whole numbers" : "numbers") << " from " << std::fixed << std::setprecision(0) << least
                     << " to " << most << " with commas between them";
            refuse(option, expected.str(), item);
        }
        result.push_back(value);
    }
    if (values.contains(option) && result.empty()) {
        refuse(option, "numbers", "");
    }
    return result;
}

std::optional<std::int64_t> count(const po::variables_map& values, const char* option, std::int64_t least)
{
    if (!values.contains(option)) {
        return {};
    }
    const auto value = values[option].as<std::int64_t>();
    if (value < least || value > 100'000'000) {
        throw UsageError(formatted("--{}: expected {} to 100000000, found {}", option, least, value));
    }
    return value;
}

void check_options(const po::variables_map& values)
{
    for (const char* option : {"tokens", "seed", "book"}) {
        if (values.contains(option)) {
            throw UsageError("--benchmark and --" + std::string(option) + " contradict each other: give one");
        }
    }
    if (values.contains("chat") && values.contains("no-chat")) {
        throw UsageError("--chat and --no-chat contradict each other: give one");
    }
    if (text_of(values, "model").empty()) {
        throw UsageError("--model is missing");
    }
    if (text_of(values, "output").empty() && !values.contains("print")) {
        throw UsageError("--output or --print is missing");
    }
    if (values.contains("task") && values["task"].as<std::vector<std::string>>().size() > 1) {
        throw UsageError("--task: expected one task of the records, found several");
    }
}

SampleRequest request_of(const po::variables_map& values)
{
    SampleRequest request;
    request.benchmark = text_of(values, "benchmark");
    request.variant = values.contains("variant") ? text_of(values, "variant") : "official";
    if (values.contains("records")) {
        const auto files = values["records"].as<std::vector<std::string>>();
        request.records = {files.begin(), files.end()};
    }
    if (values.contains("chat") || values.contains("no-chat")) {
        request.chat = values.contains("chat");
    }
    request.task = values.contains("task") ? values["task"].as<std::vector<std::string>>().front() : "";
    request.config = text_of(values, "config");
    if (const auto index = count(values, "gold-index", 0)) {
        request.gold_index = static_cast<std::size_t>(*index);
    }
    for (const double length : numbers(values, "lengths", 1, 100'000'000, true)) {
        request.lengths.push_back(static_cast<std::int64_t>(length));
    }
    request.depths = numbers(values, "depths", 0, 100, false);
    request.needle = text_of(values, "needle");
    request.question = text_of(values, "question");
    request.answer_prefix = text_of(values, "answer-prefix");
    return request;
}

} // namespace

po::options_description benchmark_options()
{
    po::options_description options("Benchmarks' own records", 100);
    auto add = options.add_options();
    add("benchmark", po::value<std::string>()->value_name("NAME"),
        "longbench, ruler, infinitebench, needle, passkey or kv-retrieval");
    add("records", po::value<std::vector<std::string>>()->multitoken()->composing()->value_name("FILE..."),
        "the benchmark's records, a JSON object a line, packed (.gz) or not; needle: texts to hide it in");
    add("variant", po::value<std::string>()->value_name("NAME"), "official or kvpress (default: official)");
    add("max-length", po::value<std::int64_t>()->value_name("N"),
        "most tokens of a prompt (kvpress: of its context) before the chat template; longer ones are cut as the "
        "benchmark cuts them, or refused");
    add("skip-longer", "leave out a prompt that does not fit, with a note, instead of refusing it");
    add("no-chat", "no chat template where the benchmark has one");
    add("config", po::value<std::string>()->value_name("DIR"),
        "LongBench's dataset2prompt.json and dataset2maxlen.json (default: as released)");
    add("gold-index", po::value<std::int64_t>()->value_name("N"),
        "kv-retrieval: moves the pair that is asked for there, from 0");
    add("lengths", po::value<std::string>()->value_name("LIST"), "needle: context lengths in tokens");
    add("depths", po::value<std::string>()->value_name("LIST"),
        "needle: percent (default: 0,11,22,33,44,56,67,78,89,100)");
    add("needle", po::value<std::string>()->value_name("TEXT"), "needle: the sentence (default: as released)");
    add("question", po::value<std::string>()->value_name("TEXT"), "needle: about it (default: as released)");
    add("answer-prefix", po::value<std::string>()->value_name("TEXT"), "needle: first words of the answer");
    add("print", "the texts, as the model reads them");
    return options;
}

std::string benchmark_help()
{
    std::ostringstream text;
    text << benchmark_options() << '\n';
    for (const auto& benchmark : benchmarks()) {
        text << "  " << benchmark.name << std::string(16 - benchmark.name.size(), ' ') << benchmark.summary << '\n';
    }
    text << notes;
    return text.str();
}

std::optional<BenchmarkCommand> parse_benchmark(const po::variables_map& values)
{
    if (!values.contains("benchmark")) {
        const auto options = benchmark_options();
        for (const auto& option : options.options()) {
            if (values.contains(option->long_name())) {
                throw UsageError("--" + option->long_name() + ": expected --benchmark with it, found none");
            }
        }
        return {};
    }
    check_options(values);
    BenchmarkCommand command;
    command.request = request_of(values);
    if (command.request.benchmark == "needle" && command.request.depths.empty()) {
        command.request.depths = {0, 11, 22, 33, 44, 56, 67, 78, 89, 100};
    }
    command.model = text_of(values, "model");
    command.output = text_of(values, "output");
    command.max_length = count(values, "max-length", 2);
    command.samples = count(values, "samples", 1);
    command.skip_longer = values.contains("skip-longer");
    command.print = values.contains("print");
    check_request(command.request);
    return command;
}

} // namespace lava
