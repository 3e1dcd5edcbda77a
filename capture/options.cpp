#include "capture/options.h"

#include "base/error.h"
#include "base/program.h"
#include "capture/command_line.h"
#include "traces/recorded_part.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <iostream>
#include <sstream>
#include <vector>

namespace lava {

namespace po = boost::program_options;

namespace {

const char* const purpose = R"(Usage: lava-capture --model DIR (--prompt TEXT | --prompt-file FILE | --ids FILE.json |
                    --haystack FILE --needle TEXT --depth F --question TEXT --tokens N) [options] -o trace.h5
       lava-capture --model DIR --prompts FILE.jsonl [options] -o FOLDER
Runs a language model over a prompt and records keys, values, queries and attention outputs of every layer.
The trace is what lava-replay replays KV-cache eviction policies over.

On one machine, the CPU gives the same bytes for the same command, with any number of threads.
)";

po::options_description prompt_options()
{
    po::options_description prompt("Prompt");
    auto add = prompt.add_options();
    add("model", po::value<std::string>()->value_name("DIR"), "Hugging Face folder of the model");
    add("prompt", po::value<std::string>()->value_name("TEXT"), "prompt text");
    add("prompt-file", po::value<std::string>()->value_name("FILE"), "file with the prompt text, UTF-8");
    add("ids", po::value<std::string>()->value_name("FILE.json"), "JSON array of token ids");
    add("prompts", po::value<std::string>()->value_name("FILE.jsonl"),
        "many prompts, a JSON object a line: prompt or ids, and chat, answer_prefix, reference, spans, id, and what "
        "answers are scored by, as lava-prompts writes them; a trace each "
        "and index.json in the folder -o; traces that are there already are kept");
    add("haystack", po::value<std::string>()->value_name("FILE"),
        "long text: white space collapsed, cut at a sentence end to fit --tokens");
    add("needle", po::value<std::string>()->value_name("TEXT"), "sentence planted in the haystack");
    add("depth", po::value<double>()->value_name("F"), "where: 0 at the beginning, 1 at the end");
    add("question", po::value<std::string>()->value_name("TEXT"), "what is asked after the haystack");
    add("tokens", po::value<std::int64_t>()->value_name("N"), "most tokens of the whole prompt");
    add("chat", "put the text into the model's chat template, as the user's turn");
    add("answer-prefix", po::value<std::string>()->value_name("TEXT"), "tokenized by itself and appended");
    add("spans", po::value<std::string>()->value_name("FILE.json"),
        R"([{"name", "begin", "end"}]: half-open characters of the prompt text)");
    return prompt;
}

po::options_description run_options()
{
    po::options_description run("Run and trace");
    auto add = run.add_options();
    add("continue", po::value<std::int64_t>()->value_name("N"), "greedy steps after the prompt (default: 16)");
    add("reference", po::value<std::string>()->value_name("FILE"),
        "text (or .json: token ids) that is fed after the prompt instead");
    add("window", po::value<std::int64_t>()->value_name("N"), "last query rows to record (default: 64)");
    add("layers", po::value<std::string>()->value_name("A-B,C"), "record these layers only (default: all)");
    add("heads", po::value<std::string>()->value_name("A-B,C"),
        "record these KV heads only, with the query heads that read them (default: all)");
    add("repeat-pass", "record KVzip's scores too: the model repeats the prompt, which takes as long again or more");
    add("chunk", po::value<std::int64_t>()->value_name("N"),
        "prompt tokens that go through a layer at once; fewer take less memory (default: 4096)");
    add("deflate", po::value<int>()->value_name("N"), "compression of the trace, 0 none to 9 (default: 0)");
    add("resume", "keep finished layers beside the trace; after a crash, the same command goes on from there");
    add("dry-run", "print how large the trace will be and stop before the model runs");
    add("store", po::value<std::string>()->value_name("TYPE"), "f32, f16 or bf16 (default: the run's dtype)");
    add("device", po::value<std::string>()->value_name("NAME"),
        "cpu, cuda or cuda:N; with several, such as cuda:0,cuda:1, each takes a range of the layers (default: cpu)");
    add("dtype", po::value<std::string>()->value_name("NAME"),
        "float32, float16 or bfloat16 (default: the model's on GPUs, float32 on the CPU)");
    add("threads", po::value<int>()->value_name("N"), "CPU threads (default: one per core)");
    add("embed-weights", "W_O inside the trace, not in a file of its own beside it");
    add("output,o", po::value<std::string>()->value_name("FILE"), "trace to write");
    add("json", "print the summary as JSON");
    add("help,h", "print this and exit");
    add("version", "print the version and exit");
    return run;
}

bool has(const po::variables_map& values, const std::string& name)
{
    return values.count(name) > 0;
}

std::string text_of(const po::variables_map& values, const std::string& name)
{
    return has(values, name) ? values[name].as<std::string>() : std::string();
}

/// Throws where both of a pair are given.
void check_contradictions(const po::variables_map& values)
{
    const std::pair<const char*, const char*> pairs[] = {{"prompt", "prompt-file"}, {"prompt", "ids"},
        {"prompt", "haystack"}, {"prompt", "prompts"}, {"prompt-file", "prompts"}, {"ids", "prompts"},
        {"haystack", "prompts"}, {"chat", "prompts"}, {"answer-prefix", "prompts"}, {"spans", "prompts"},
        {"reference", "prompts"}, {"prompt-file", "ids"}, {"prompt-file", "haystack"}, {"ids", "haystack"},
        {"ids", "chat"}, {"ids", "spans"}, {"haystack", "spans"}, {"continue", "reference"}};
    for (const auto& [first, second] : pairs) {
        if (has(values, first) && has(values, second)) {
            throw UsageError("--" + std::string(first) + " and --" + second + " contradict each other: give one");
        }
    }
}

void check_presence(const po::variables_map& values)
{
    if (!has(values, "model")) {
        throw UsageError("--model DIR is missing");
    }
    const char* const sources[] = {"prompt", "prompt-file", "ids", "haystack", "prompts"};
    if (std::none_of(std::begin(sources), std::end(sources), [&](const char* name) { return has(values, name); })) {
        throw UsageError("a prompt is missing: give --prompt, --prompt-file, --ids, --prompts or --haystack");
    }
    for (const char* name : {"needle", "depth", "question", "tokens"}) {
        if (has(values, name) != has(values, "haystack")) {
            throw UsageError(has(values, "haystack") ? "--haystack needs --" + std::string(name)
                                                     : "--" + std::string(name) + " needs --haystack");
        }
    }
    if (!has(values, "output")) {
        throw UsageError(has(values, "prompts") ? "-o FOLDER is missing" : "-o FILE is missing");
    }
}

void check_not_empty(const po::variables_map& values)
{
    // an empty prompt is a matter of the prompt, not of the command line
    for (const char* name : {"model", "prompt-file", "ids", "prompts", "haystack", "needle", "question", "spans",
             "reference", "layers", "heads", "store", "device", "dtype", "output"}) {
        if (has(values, name) && text_of(values, name).empty()) {
            throw UsageError("--" + std::string(name) + ": expected a value, found an empty one");
        }
    }
}

template <typename Number>
Number number_of(const po::variables_map& values, const std::string& name, Number fallback, Number least, Number most)
{
    if (!has(values, name)) {
        return fallback;
    }
    const Number value = values[name].as<Number>();
    if (!(value >= least && value <= most)) {
        std::ostringstream message;
        message << "--" << name << ": expected " << least << " to " << most << ", found " << value;
        throw UsageError(message.str());
    }
    return value;
}

std::optional<StoreType> store_of(const po::variables_map& values)
{
    const std::string name = text_of(values, "store");
    if (name.empty()) {
        return std::nullopt;
    }
    if (name == "f32" || name == "f16" || name == "bf16") {
        return name == "f32" ? StoreType::f32 : name == "f16" ? StoreType::f16 : StoreType::bf16;
    }
    throw UsageError("--store: expected f32, f16 or bf16, found " + name);
}

std::string dtype_of(const po::variables_map& values)
{
    const std::string name = text_of(values, "dtype");
    if (!name.empty() && name != "float32" && name != "float16" && name != "bfloat16") {
        throw UsageError("--dtype: expected float32, float16 or bfloat16, found " + name);
    }
    return name;
}

NeedleRequest needle_of(const po::variables_map& values)
{
    NeedleRequest needle;
    needle.needle = text_of(values, "needle");
    needle.question = text_of(values, "question");
    needle.depth = number_of(values, "depth", 0.0, 0.0, 1.0);
    needle.tokens = number_of<std::int64_t>(values, "tokens", 0, 1, std::int64_t{1} << 24);
    needle.haystack_name = std::filesystem::path(text_of(values, "haystack")).filename().string();
    return needle;
}

CaptureOptions to_options(const po::variables_map& values)
{
    constexpr std::int64_t most_tokens = std::int64_t{1} << 24;
    CaptureOptions options;
    options.model = text_of(values, "model");
    if (has(values, "prompt")) {
        options.prompt = text_of(values, "prompt");
    }
    options.prompt_file = text_of(values, "prompt-file");
    options.ids_file = text_of(values, "ids");
    options.prompts_file = text_of(values, "prompts");
    options.haystack_file = text_of(values, "haystack");
    options.needle = needle_of(values);
    options.chat = has(values, "chat");
    options.answer_prefix = text_of(values, "answer-prefix");
    options.spans_file = text_of(values, "spans");
    options.continue_steps = number_of<std::int64_t>(values, "continue", 16, 0, most_tokens);
    options.reference_file = text_of(values, "reference");
    options.window = number_of<std::int64_t>(values, "window", 64, 1, most_tokens);
    options.chunk = number_of<std::int64_t>(values, "chunk", 4096, 1, most_tokens);
    if (has(values, "layers")) {
        options.part.layers = parse_ranges(text_of(values, "layers"), "--layers");
    }
    if (has(values, "heads")) {
        options.part.kv_heads = parse_ranges(text_of(values, "heads"), "--heads");
    }
    options.repeat_pass = has(values, "repeat-pass");
    options.deflate = number_of(values, "deflate", 0, 0, 9);
    options.resume = has(values, "resume");
    options.dry_run = has(values, "dry-run");
    options.store = store_of(values);
    options.device = has(values, "device") ? text_of(values, "device") : "cpu";
    options.dtype = dtype_of(values);
    options.threads = number_of(values, "threads", 0, 1, 1024);
    options.embed_weights = has(values, "embed-weights");
    options.json = has(values, "json");
    options.output = text_of(values, "output");
    return options;
}

} // namespace

std::optional<CaptureOptions> parse_options(int argc, char** argv)
{
    po::options_description described(100, 50);
    described.add(prompt_options()).add(run_options());
    const po::variables_map values = read_command_line(argc, argv, described);
    if (has(values, "help")) {
        std::cout << purpose << described;
        return std::nullopt;
    }
    if (has(values, "version")) {
        std::cout << "lava-capture " << version() << '\n';
        return std::nullopt;
    }
    check_contradictions(values);
    check_presence(values);
    check_not_empty(values);
    return to_options(values);
}

} // namespace lava
