#include "replay/options.h"

#include "base/error.h"
#include "base/program.h"
#include "compute/parallel.h"

#include <boost/program_options.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <sstream>

namespace lava {

namespace {

namespace po = boost::program_options;

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
    add("free", "closed loop: let the model answer by itself from every cache, too, N tokens each");
    add("list-policies", "print every policy with variants, parameters, defaults and citation, and exit");
    add("format", po::value<std::string>()->value_name("table|json"), "of --list-policies (default: table)");
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

TableFormat list_format(const po::variables_map& values)
{
    const auto text = values.contains("format") ? values["format"].as<std::string>() : "table";
    if (text != "table" && text != "json") {
        throw UsageError("--format: expected table or json, found '" + text + "'");
    }
    return text == "json" ? TableFormat::json : TableFormat::text;
}

BudgetMatch match_option(const po::variables_map& values)
{
    const auto text = values.contains("match") ? values["match"].as<std::string>() : "both";
    if (text != "nominal" && text != "retained" && text != "both") {
        throw UsageError("--match: expected nominal, retained or both, found '" + text + "'");
    }
    return text == "nominal" ? BudgetMatch::nominal : text == "retained" ? BudgetMatch::retained : BudgetMatch::both;
}

std::string joined(const std::vector<std::string>& lists)
{
    std::string text;
    for (const auto& list : lists) {
        text += (text.empty() ? "" : ",") + list;
    }
    return text;
}

void read_files(const po::variables_map& values, ReplayCommand& command)
{
    const auto traces
        = values.contains("trace") ? values["trace"].as<std::vector<std::string>>() : std::vector<std::string>();
    if (traces.size() != 1) {
        throw UsageError("expected one TRACE, found " + std::to_string(traces.size()));
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
        command.budgets = joined(values["budget"].as<std::vector<std::string>>());
        if (command.budgets.empty()) {
            throw UsageError("--budget: expected a list of budgets, found ''");
        }
    }
    command.match = match_option(values);
    command.rankings = values.contains("no-rankings") ? Rankings::left_out : Rankings::kept;
    command.threads = values.contains("threads") ? values["threads"].as<int>() : default_threads();
    if (command.threads < 1 || command.threads > 4096) {
        throw UsageError("--threads: expected 1 to 4096, found " + std::to_string(command.threads));
    }
    if (values.contains("device")) {
        command.device = values["device"].as<std::string>();
    }
    if (values.contains("verify") && values.contains("no-verify")) {
        throw UsageError("--verify and --no-verify contradict each other");
    }
    command.verify = !values.contains("no-verify");
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
        if (command.steps < 1 || command.steps > 1'000'000) {
            throw UsageError("--steps: expected 1 to 1000000, found " + std::to_string(command.steps));
        }
    }
}

std::string describe(const ParameterInfo& parameter)
{
    const auto* const required = parameter.kind == ParameterInfo::Kind::file ? "FILE" : "VALUE";
    std::string text = parameter.name + "=" + (parameter.default_value.empty() ? required : parameter.default_value);
    text.resize(std::max<std::size_t>(text.size() + 1, 20), ' ');
    std::string choices;
    for (const auto& choice : parameter.choices) {
        choices += (choices.empty() ? " (" : ", ") + choice;
    }
    return text + parameter.help + (choices.empty() ? "" : choices + ")");
}

std::string describe(const VariantInfo& variant)
{
    std::string defaults;
    for (const auto& [name, value] : variant.defaults) {
        defaults += (defaults.empty() ? "" : ",") + name + "=" + value;
    }
    return variant.summary + " (" + defaults + ")";
}

nlohmann::ordered_json to_json(const PolicyInfo& info)
{
    nlohmann::ordered_json policy{{"name", info.name}, {"summary", info.summary}, {"citation", info.citation},
        {"composition", info.composition.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(info.composition)},
        {"parameters", nlohmann::ordered_json::array()}, {"variants", nlohmann::ordered_json::array()}};
    for (const auto& parameter : info.parameters) {
        policy["parameters"].push_back({{"name", parameter.name}, {"default", parameter.default_value},
            {"choices", parameter.choices}, {"help", parameter.help}});
    }
    for (const auto& variant : info.variants) {
        nlohmann::ordered_json defaults = nlohmann::ordered_json::object();
        for (const auto& [name, value] : variant.defaults) {
            defaults[name] = value;
        }
        policy["variants"].push_back({{"name", variant.name}, {"summary", variant.summary}, {"defaults", defaults}});
    }
    return policy;
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
        command.format = list_format(values);
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

std::string policy_list(TableFormat format)
{
    if (format == TableFormat::json) {
        auto list = nlohmann::ordered_json::array();
        for (const auto& info : policies()) {
            list.push_back(to_json(info));
        }
        return list.dump(2) + "\n";
    }
    std::string text;
    for (const auto& info : policies()) {
        text += info.name + ": " + info.summary + " [" + info.citation + "]"
            + (info.in_default_set ? "\n" : " (only where named)\n");
        if (!info.composition.empty()) {
            text += "    keeps what " + info.composition + " keeps\n";
        }
        for (const auto& parameter : info.parameters) {
            text += "    " + describe(parameter) + "\n";
        }
        for (const auto& variant : info.variants) {
            text += "  " + info.name + "@" + variant.name + ": " + describe(variant) + "\n";
        }
    }
    return text;
}

} // namespace lava
