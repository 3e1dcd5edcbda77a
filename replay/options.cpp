#include "replay/options.h"

#include "analysis/closed_loop.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/program.h"
#include "base/text.h"
#include "compute/parallel.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <sstream>

namespace lava {

namespace {

namespace po = boost::program_options;

constexpr const char* as_the_prompt_says = "max_new_tokens";

po::options_description visible_options()
{
    po::options_description options("Options");
    auto add = options.add_options();
    add("policy,p", po::value<std::vector<std::string>>()->value_name("NAME[@VARIANT][:KEY=VALUE,...]"),
        "policy to replay; repeatable (default: all that are not listed as only where named, and that the trace can "
        "serve: -p default names these)");
    add("budget,b", po::value<std::vector<std::string>>()->value_name("LIST"),
        "mean entries kept per KV head, window included: N, a:b:xK (a, aK, aK^2, ... up to b), P% of the prompt, or "
        "ratio:r (a share r evicted, as kvpress counts); comma-separated, repeatable (default: 12 in equal ratios up "
        "to "
        "the whole prompt)");
    add("output,o", po::value<std::string>()->value_name("FILE"),
        "report to write (HDF5), for lava-analyze and lava-gui");
    add("csv", po::value<std::string>()->value_name("FILE"), "comparison table to write as CSV");
    add("json", po::value<std::string>()->value_name("FILE"), "comparison table to write as JSON");
    add("match", po::value<std::string>()->value_name("nominal|retained|both"),
        "what a budget is compared by: the number given to each policy's rule, the total that is then retained (the "
        "rule "
        "is given the number that comes nearest), or both side by side (default: both)");
    add("threads", po::value<int>()->value_name("N"), "threads; any number gives the same bytes (default: all cores)");
    add("device", po::value<std::string>()->value_name("cpu|cuda"),
        "where windows are scored, entries ranked and open-loop losses computed; cuda: the first GPU (default: cpu)");
    add("no-rankings", "leave out of the report which entries each policy keeps: a smaller file, numbers only");
    add("verify", "check the trace against itself before any loss is computed (the default)");
    add("no-verify", "do not");
    add("closed-loop",
        "let the model decode from every evicted cache: divergence of its predictions, drift of the residual stream, "
        "over the steps of the answer; needs --model");
    add("model", po::value<std::string>()->value_name("DIR"),
        "the trace's model, a Hugging Face folder: losses of layer outputs, too");
    add("no-layer-output",
        "closed loop: leave out the losses of layer outputs, which need every layer's FFN and about as long as the "
        "decoding itself");
    add("steps", po::value<std::int64_t>()->value_name("N"),
        "decode steps of the closed loop (default: those of the trace; beyond them the model's own answer goes on)");
    add("free", po::value<std::string>()->implicit_value(as_the_prompt_says)->value_name("N"),
        "closed loop: let the model answer by itself from every cache, too, until the stop rule of the trace's prompt, "
        "or else the model's end of text, ends it; at most N tokens (alone: as many as max_new_tokens of the prompt, "
        "or "
        "the --steps where it has none)");
    add("list-policies", "print every policy with variants, parameters, defaults and citation, and exit");
    add("format", po::value<std::string>()->value_name("table|json|markdown"),
        "of --list-policies; markdown: the tables of docs/policies.md (default: table)");
    add("help,h", "print this and exit");
    add("version", "print the version and exit");
    return options;
}

std::string help()
{
    std::ostringstream text;
    text
        << "Usage: lava-replay [options] TRACE\n"
           "Replays KV-cache eviction policies over a recorded trace and writes a report of what each keeps at every\n"
           "budget. Losses are exact, open loop: every layer reads the recorded residual stream, only its own cache is "
           "evicted.\n\n"
        << visible_options();
    return text.str();
}

po::variables_map parse(int argc, const char* const* argv)
{
    po::options_description all = visible_options();
    all.add_options()("trace", po::value<std::vector<std::string>>());
    po::positional_options_description positional;
    positional.add("trace", -1);
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    po::variables_map values;
    try {
        po::store(po::command_line_parser(argc, argv).options(all).positional(positional).style(style).run(), values);
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    return values;
}

std::filesystem::path path_of(const po::variables_map& values, const char* option)
{
    if (!values.contains(option)) {
        return {};
    }
    const auto& text = values[option].as<std::string>();
    if (text.empty()) {
        throw UsageError("--" + std::string(option) + ": expected a file name, found ''");
    }
    return text;
}

PolicyListFormat list_format(const po::variables_map& values)
{
    const auto text = values.contains("format") ? values["format"].as<std::string>() : "table";
    if (text != "table" && text != "json" && text != "markdown") {
        throw UsageError("--format: expected table, json or markdown, found '" + text + "'");
    }
    return text == "json"    ? PolicyListFormat::json
        : text == "markdown" ? PolicyListFormat::markdown
                             : PolicyListFormat::text;
}

BudgetMatch match_option(const po::variables_map& values)
{
    const auto text = values.contains("match") ? values["match"].as<std::string>() : "both";
    if (text != "nominal" && text != "retained" && text != "both") {
        throw UsageError("--match: expected nominal, retained or both, found '" + text + "'");
    }
    return text == "nominal" ? BudgetMatch::nominal : text == "retained" ? BudgetMatch::retained : BudgetMatch::both;
}

void read_files(const po::variables_map& values, ReplayCommand& command)
{
    const auto traces
        = values.contains("trace") ? values["trace"].as<std::vector<std::string>>() : std::vector<std::string>();
    if (traces.size() != 1) {
        throw UsageError(formatted("expected one TRACE, found {}", traces.size()));
    }
    command.trace = traces.front();
    command.output = path_of(values, "output");
    command.csv = path_of(values, "csv");
    command.json = path_of(values, "json");
    if (command.output.empty() && command.csv.empty() && command.json.empty()) {
        throw UsageError("nothing to write: give --output, --csv or --json");
    }
}

void read_sweep(const po::variables_map& values, ReplayCommand& command)
{
    if (values.contains("policy")) {
        for (const auto& text : values["policy"].as<std::vector<std::string>>()) {
            if (text == "default") {
                std::ranges::move(default_policies(), std::back_inserter(command.policies));
            } else {
                command.policies.push_back(parse_policy(text));
            }
        }
    }
    if (values.contains("budget")) {
        command.budgets = joined(values["budget"].as<std::vector<std::string>>(), ",");
        if (command.budgets.empty()) {
            throw UsageError("--budget: expected a list of budgets, found ''");
        }
    }
    command.match = match_option(values);
    command.rankings = values.contains("no-rankings") ? Rankings::left_out : Rankings::kept;
    command.threads = values.contains("threads") ? values["threads"].as<int>() : default_threads();
    if (command.threads < 1 || command.threads > 4096) {
        throw UsageError(formatted("--threads: expected 1 to 4096, found {}", command.threads));
    }
    if (values.contains("device")) {
        command.device = values["device"].as<std::string>();
    }
    if (values.contains("verify") && values.contains("no-verify")) {
        throw UsageError("--verify and --no-verify contradict each other");
    }
    command.verify = !values.contains("no-verify");
}

// 0: as the trace's prompt says.
std::int64_t answer_length(const std::string& text)
{
    if (text == as_the_prompt_says) {
        return 0;
    }
    std::int64_t length = 0;
    const auto* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, length);
    if (read.ec != std::errc() || read.ptr != end || length < 1 || length > most_steps) {
        throw UsageError("--free: expected 1 to 1000000 tokens, found '" + text + "'");
    }
    return length;
}

void read_closed_loop(const po::variables_map& values, ReplayCommand& command)
{
    command.model = path_of(values, "model");
    command.closed_loop = values.contains("closed-loop");
    command.free = values.contains("free");
    command.layer_output = !values.contains("no-layer-output");
    for (const char* option : {"steps", "free", "no-layer-output"}) {
        if (values.contains(option) && !command.closed_loop) {
            throw UsageError("--" + std::string(option) + " goes with --closed-loop");
        }
    }
    if (command.closed_loop && command.model.empty()) {
        throw UsageError("--closed-loop: expected the trace's model, too: --model DIR");
    }
    if (values.contains("steps")) {
        command.steps = values["steps"].as<std::int64_t>();
        if (command.steps < 1 || command.steps > most_steps) {
            throw UsageError(formatted("--steps: expected 1 to {}, found {}", most_steps, command.steps));
        }
    }
    if (command.free) {
        command.answer_length = answer_length(values["free"].as<std::string>());
    }
}

} // namespace

ReplayCommand parse_options(int argc, const char* const* argv)
{
    const auto values = parse(argc, argv);
    ReplayCommand command;
    if (values.contains("help") || values.contains("version")) {
        command.action = ReplayCommand::Action::print_text;
        command.text = values.contains("help") ? help() : "lava-replay " + std::string(version()) + "\n";
        return command;
    }
    if (values.contains("list-policies")) {
        command.action = ReplayCommand::Action::list_policies;
        command.list_format = list_format(values);
        return command;
    }
    if (values.contains("format")) {
        throw UsageError("--format goes with --list-policies; lava-analyze prints reports");
    }
    read_files(values, command);
    read_sweep(values, command);
    read_closed_loop(values, command);
    return command;
}

} // namespace lava
