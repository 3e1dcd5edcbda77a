#include "analysis/options.h"

#include "traces/error.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <charconv>
#include <sstream>

namespace lava {

namespace {

namespace po = boost::program_options;

struct CommandInfo
{
    const char* name;
    Command command;
    const char* summary;
    std::vector<const char*> options; ///< beyond --policy, --budget, --match and --format
};

const std::vector<CommandInfo>& commands()
{
    static const std::vector<CommandInfo> list = {
        {"table", Command::table, "policies and budgets compared", {"pivot"}},
        {"layers", Command::layers, "retained entries and losses of every layer", {}},
        {"heads", Command::heads, "losses of every query head", {}},
        {"budgets", Command::budgets, "retained entries of every KV head", {}},
        {"map", Command::map, "percent of the prompt that every KV head keeps, layers down and heads across", {}},
        {"bounds", Command::bounds, "attention output loss against its upper bounds", {"by"}},
        {"spans", Command::spans, "what became of each marked span", {"by"}},
        {"gain", Command::gain, "how much less loss one policy leaves than another, nominal and at equal retention",
            {"layer"}},
        {"summary", Command::summary, "many prompts in one table: loss, KL and exact answers by kept share", {}},
        {"answers", Command::answers, "what the model says from what is retained (lava-replay --closed-loop --free)",
            {}},
        {"retained", Command::retained, "positions that one policy keeps at one budget", {}},
        {"curves", Command::curves, "the division over heads that loses least, for lu-kv's file of curves", {"output"}},
        {"plot", Command::plot, "charts as PNG and SVG, drawn by lava-gui", {"output"}},
    };
    return list;
}

po::options_description visible_options()
{
    po::options_description options("Options", 100);
    auto add = options.add_options();
    add("policy,p", po::value<std::vector<std::string>>()->value_name("NAME[@VARIANT][:KEY=VALUE,...]"),
        "policy to show, in any spelling that lava-replay takes; repeatable (default: all)");
    add("budget,b", po::value<std::vector<std::string>>()->value_name("LIST"),
        "budgets to show: entries or percent of the prompt, such as 64,256 or 10%; repeatable (default: all)");
    add("match", po::value<std::string>()->value_name("nominal|retained"),
        "policies at the budget that their rules were given, or at equal retention (default: both, where they differ)");
    add("format,f", po::value<std::string>()->value_name("table|csv|json"),
        "table for people (default); csv and json carry every column in full precision");
    add("pivot", po::value<std::string>()->value_name("COLUMN"),
        "table: one quantity, policies against budgets, such as attn_out_l1_relative");
    add("by", po::value<std::string>()->value_name("run|layer|head"),
        "spans, bounds: how far to break down (default: run)");
    add("layer,l", po::value<std::vector<std::string>>()->value_name("LIST"),
        "gain: layers, -1 for the last (default: 0,-1)");
    add("output,o", po::value<std::string>()->value_name("PATH"),
        "plot: folder for the charts; curves: NumPy file (.npy) to write");
    add("help,h", "print this and exit");
    add("version", "print the version and exit");
    return options;
}

po::variables_map parse(int argc, const char* const* argv)
{
    po::options_description all = visible_options();
    all.add_options()("command", po::value<std::string>())("report", po::value<std::vector<std::string>>());
    po::positional_options_description positional;
    positional.add("command", 1).add("report", -1);
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    po::variables_map values;
    try {
        po::store(po::command_line_parser(argc, argv).options(all).positional(positional).style(style).run(), values);
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    return values;
}

std::string join(const std::vector<const char*>& words)
{
    std::string text;
    for (const char* word : words)
        text += (text.empty() ? "" : ", ") + std::string(word);
    return text;
}

const CommandInfo& find_command(const po::variables_map& values)
{
    std::vector<const char*> names;
    for (const CommandInfo& info : commands()) {
        names.push_back(info.name);
        if (values.contains("command") && values["command"].as<std::string>() == info.name)
            return info;
    }
    throw UsageError(values.contains("command")
            ? "unknown command '" + values["command"].as<std::string>() + "'; expected " + join(names)
            : "expected a command: " + join(names));
}

void refuse_options_of_others(const po::variables_map& values, const CommandInfo& info)
{
    for (const char* option : {"pivot", "by", "layer", "output"}) {
        const bool taken = std::ranges::any_of(info.options, [&](std::string_view own) { return own == option; });
        if (values.contains(option) && !taken)
            throw UsageError("--" + std::string(option) + " does not go with " + info.name);
    }
    for (const char* option : {"policy", "budget", "match", "format"}) {
        if (values.contains(option) && info.command == Command::plot)
            throw UsageError("--" + std::string(option) + " does not go with plot, which draws the whole report");
    }
}

/// Whole numbers of at least `least` in comma-separated lists.
std::vector<std::string> items_of(const po::variables_map& values, const std::string& option)
{
    std::vector<std::string> items;
    if (!values.contains(option))
        return items;
    for (const std::string& list : values[option].as<std::vector<std::string>>()) {
        for (std::size_t begin = 0; begin <= list.size(); begin += items.back().size() + 1)
            items.push_back(list.substr(begin, std::min(list.find(',', begin), list.size()) - begin));
    }
    return items;
}

std::int64_t parse_number(const std::string& item, const std::string& option, std::int64_t least, const char* unit = "")
{
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), number);
    if (error != std::errc() || std::string_view(end, item.data() + item.size()) != unit || number < least)
        throw UsageError(
            "--" + option + ": expected whole numbers of at least " + std::to_string(least) + ", found '" + item + "'");
    return number;
}

std::vector<std::int64_t> parse_layers(const po::variables_map& values)
{
    std::vector<std::int64_t> layers;
    for (const std::string& item : items_of(values, "layer"))
        layers.push_back(parse_number(item, "layer", -10'000));
    return layers;
}

void parse_budgets(const po::variables_map& values, Filter& filter)
{
    for (const std::string& item : items_of(values, "budget")) {
        if (item.ends_with('%'))
            filter.percents.push_back(parse_number(item, "budget", 1, "%"));
        else
            filter.budgets.push_back(parse_number(item, "budget", 1));
    }
}

TableFormat parse_format(const po::variables_map& values, Command command)
{
    const std::string text = values.contains("format") ? values["format"].as<std::string>() : "table";
    if (text == "table")
        return TableFormat::text;
    if (text == "json")
        return TableFormat::json;
    if (text == "csv" && command != Command::retained)
        return TableFormat::csv;
    throw UsageError(std::string("--format: expected table") + (command == Command::retained ? "" : ", csv")
        + " or json, found '" + text + "'");
}

std::string parse_match(const po::variables_map& values, Command command)
{
    if (!values.contains("match"))
        return command == Command::retained ? "nominal" : ""; // one set is asked for
    const std::string text = values["match"].as<std::string>();
    if (text != "nominal" && text != "retained")
        throw UsageError("--match: expected nominal or retained, found '" + text + "'");
    return text;
}

Detail parse_detail(const po::variables_map& values, Command command)
{
    const std::string text = values.contains("by") ? values["by"].as<std::string>() : "run";
    if (text == "run")
        return Detail::run;
    if (text == "layer")
        return Detail::layer;
    if (text == "head" && command == Command::spans)
        return Detail::head;
    throw UsageError(std::string("--by: expected run") + (command == Command::spans ? ", layer or head" : " or layer")
        + ", found '" + text + "'");
}

void check_one_report(const Options& options, const std::string& command)
{
    if (options.reports.size() != 1)
        throw UsageError(command + ": expected one report, found " + std::to_string(options.reports.size()));
}

void check_command(const Options& options, const CommandInfo& info)
{
    if (options.reports.empty())
        throw UsageError(std::string(info.name) + ": expected a report, such as report.h5");
    if (options.command == Command::retained) {
        check_one_report(options, info.name);
        const std::size_t budgets = options.filter.budgets.size() + options.filter.percents.size();
        if (options.filter.policies.size() != 1 || budgets != 1)
            throw UsageError("retained: expected one --policy and one --budget, found "
                + std::to_string(options.filter.policies.size()) + " and " + std::to_string(budgets));
    }
    if (options.command == Command::curves && options.filter.policies.size() != 1)
        throw UsageError("curves: expected one --policy, found " + std::to_string(options.filter.policies.size()));
    if (options.command == Command::gain && !options.filter.percents.empty())
        throw UsageError("gain: expected budgets in entries, found percents of the prompt");
    if (options.command == Command::curves && !(options.filter.budgets.empty() && options.filter.percents.empty()))
        throw UsageError("--budget does not go with curves, which shows all of a policy's");
    if (options.command == Command::gain && options.filter.policies.size() != 2)
        throw UsageError(
            "gain: expected two policies: -p BASE -p OTHER, found " + std::to_string(options.filter.policies.size()));
    if (options.command == Command::gain && !options.filter.match.empty())
        throw UsageError("--match does not go with gain, which shows both");
    if (options.command == Command::plot) {
        check_one_report(options, info.name);
        if (options.output.empty())
            throw UsageError("plot: expected a folder: -o DIR");
    }
}

} // namespace

Options parse_options(int argc, const char* const* argv)
{
    const po::variables_map values = parse(argc, argv);
    Options options;
    if (values.contains("help"))
        return options;
    if (values.contains("version")) {
        options.command = Command::version;
        return options;
    }
    const CommandInfo& info = find_command(values);
    refuse_options_of_others(values, info);
    options.command = info.command;
    if (values.contains("report")) {
        const auto& reports = values["report"].as<std::vector<std::string>>();
        options.reports.assign(reports.begin(), reports.end());
    }
    if (values.contains("policy"))
        options.filter.policies = values["policy"].as<std::vector<std::string>>();
    parse_budgets(values, options.filter);
    options.layers = parse_layers(values);
    options.filter.match = parse_match(values, info.command);
    options.format = parse_format(values, info.command);
    options.by = parse_detail(values, info.command);
    if (values.contains("pivot"))
        options.pivot = values["pivot"].as<std::string>();
    if (values.contains("output"))
        options.output = values["output"].as<std::string>();
    check_command(options, info);
    return options;
}

std::string help()
{
    std::ostringstream text;
    text
        << "Usage: lava-analyze COMMAND REPORT... [options]\n"
           "Prints what lava-replay found: what each policy keeps at each budget, what that costs, and what became of\n"
           "marked spans. Losses are open loop: every layer reads the recorded residual stream.\n\n"
           "Commands:\n";
    for (const CommandInfo& info : commands())
        text << "  " << info.name << std::string(10 - std::string_view(info.name).size(), ' ') << info.summary << '\n';
    text << "\nOf the closed loop (lava-replay --closed-loop), kl, cross_entropy, top1_agreement and drift_* are over\n"
            "the steps of the answer: up to the one that predicts its end token, or to the reference's end.\n"
            "kl_all_steps, in CSV and JSON, is over all. exact: answers of which every token, from the first to the\n"
            "one that ends it, is the most likely one, the first after the prompt, each other one from what is\n"
            "retained and the answer before it (dense_exact: from the whole cache). same_as_dense: whether the\n"
            "model, left to itself, answers as with the whole cache; empty where that is the first token alone,\n"
            "which is the prompt's own.\n";
    text << '\n' << visible_options();
    return text.str();
}

} // namespace lava
