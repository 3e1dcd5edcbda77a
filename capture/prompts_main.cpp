#include "base/error.h"
#include "base/formatted.h"
#include "base/output_file.h"
#include "base/output_guard.h"
#include "base/program.h"
#include "capture/benchmarks/benchmark_options.h"
#include "capture/command_line.h"
#include "capture/prompts.h"
#include "capture/synthetic_tasks.h"
#include "model/tokenizer.h"

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <iostream>
#include <optional>
#include <sstream>

namespace {

using namespace lava;
namespace po = boost::program_options;

struct PromptsCommand
{
    std::string text; ///< of --help or --version; empty: make prompts
    std::filesystem::path model;
    std::vector<std::string> tasks;
    std::int64_t tokens = 4096;
    std::int64_t samples = 1;
    std::uint64_t seed = 0;
    std::filesystem::path book;
    bool chat = false;
    std::filesystem::path output;
    std::optional<BenchmarkCommand> benchmark; ///< instead of the tasks
};

po::options_description visible_options()
{
    po::options_description options("Options", 100);
    auto add = options.add_options();
    add("model,m", po::value<std::string>()->value_name("DIR"), "model folder whose tokenizer counts the tokens");
    add("task,t", po::value<std::vector<std::string>>()->value_name("NAME"), "task; repeatable (default: all)");
    add("tokens,n", po::value<std::int64_t>()->value_name("N"),
        "most tokens of a prompt with its answer (default: 4096)");
    add("samples,s", po::value<std::int64_t>()->value_name("N"),
        "prompts of each task (default: 1; of a benchmark's records: all)");
    add("seed", po::value<std::uint64_t>()->value_name("N"), "seed of everything random (default: 0)");
    add("book", po::value<std::string>()->value_name("FILE"), "text that needles are hidden in");
    add("chat", "the prompt is what the user says, in the model's chat template");
    add("output,o", po::value<std::string>()->value_name("FILE.jsonl"), "prompts to write, one a line");
    add("help,h", "print this and exit");
    add("version", "print the version and exit");
    return options;
}

std::string help()
{
    std::ostringstream text;
    text << "Usage: lava-prompts --model DIR [options] -o FILE.jsonl\n"
            "       lava-prompts --model DIR --benchmark NAME --records FILE... [options] -o FILE.jsonl\n"
            "Writes prompts with known answers for lava-capture --prompts: needles in noise or in a book, chains of\n"
            "variables, common words. The same options give the same prompts on any machine.\n\nTasks:\n";
    for (const auto& task : synthetic_tasks()) {
        text << "  " << task.name << std::string(16 - task.name.size(), ' ') << task.summary << '\n';
    }
    text << '\n' << visible_options() << '\n' << benchmark_help();
    return text.str();
}

po::options_description all_options()
{
    po::options_description options;
    options.add(visible_options()).add(benchmark_options());
    return options;
}

std::int64_t count_option(const po::variables_map& values, const char* option, std::int64_t otherwise)
{
    const auto value = values.contains(option) ? values[option].as<std::int64_t>() : otherwise;
    if (value < 1 || value > 100'000'000) {
        throw UsageError(formatted("--{}: expected 1 to 100000000, found {}", option, value));
    }
    return value;
}

PromptsCommand parse_command(int argc, const char* const* argv)
{
    const auto values = read_command_line(argc, argv, all_options());
    PromptsCommand command;
    if (values.contains("help") || values.contains("version")) {
        command.text = values.contains("help") ? help() : "lava-prompts " + std::string(version()) + "\n";
        return command;
    }
    command.benchmark = parse_benchmark(values);
    if (command.benchmark) {
        return command;
    }
    for (const char* option : {"model", "output"}) {
        if (!values.contains(option) || values[option].as<std::string>().empty()) {
            throw UsageError("--" + std::string(option) + " is missing");
        }
    }
    command.model = values["model"].as<std::string>();
    command.output = values["output"].as<std::string>();
    command.book = values.contains("book") ? values["book"].as<std::string>() : "";
    command.tokens = count_option(values, "tokens", command.tokens);
    command.samples = count_option(values, "samples", command.samples);
    command.seed = values.contains("seed") ? values["seed"].as<std::uint64_t>() : 0;
    command.chat = values.contains("chat");
    if (values.contains("task")) {
        command.tasks = values["task"].as<std::vector<std::string>>();
    } else {
        for (const auto& task : synthetic_tasks()) {
            command.tasks.emplace_back(task.name);
        }
    }
    return command;
}

nlohmann::ordered_json to_json(const TaskPrompt& task, bool chat)
{
    nlohmann::ordered_json line{{"id", task.id}, {"prompt", task.prompt}, {"chat", chat},
        {"answer_prefix", task.answer_prefix}, {"reference", task.reference}};
    for (const auto& span : task.spans) {
        line["spans"].push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end}});
    }
    return line;
}

int run(int argc, char** argv)
{
    const auto command = parse_command(argc, argv);
    if (!command.text.empty()) {
        std::cout << command.text;
        return 0;
    }
    if (command.benchmark) {
        make_benchmark_prompts(*command.benchmark);
        return 0;
    }
    auto inputs = files_of_model(command.model);
    inputs.push_back(command.book);
    refuse_same_files({&command.output, 1}, inputs);
    const auto tokenizer = read_tokenizer(command.model);
    TaskRequest request;
    request.seed = command.seed;
    request.tokens = command.tokens;
    request.book = command.book.empty() ? "" : read_text(command.book);
    request.count = [&](const TaskPrompt& task) {
        const PromptRequest prompt{task.prompt, command.chat, task.answer_prefix};
        return std::ssize(build_prompt(tokenizer.get(), prompt).ids)
            + std::ssize(tokenizer->encode(task.reference, false).ids);
    };
    std::string lines;
    for (const auto& name : command.tasks) {
        request.task = name;
        for (request.sample = 0; request.sample < command.samples; ++request.sample) {
            lines += to_json(make_task(request), command.chat).dump() + "\n";
        }
    }
    write_text_file(command.output, lines);
    std::cout << command.output.string() << ": " << command.tasks.size() * static_cast<std::size_t>(command.samples)
              << " prompts of at most " << command.tokens << " tokens\n";
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    return lava::run_program("lava-prompts", [&] { return run(argc, argv); });
}
