#include "analysis/options.h"

#include "analysis/column_table.h"
#include "analysis/commands.h"
#include "base/error.h"
#include "base/formatted.h"
#include "traces/recorded_part.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <iterator>
#include <sstream>
#include <string_view>

namespace lava {

namespace {

namespace po = boost::program_options;

po::options_description visible_options()
{
    po::options_description options("Options", 100);
    auto add = options.add_options();
    add("policy,p", po::value<std::vector<std::string>>()->value_name("NAME[@VARIANT][:KEY=VALUE,...]"),
        "policy to show, in any spelling that lava-replay takes; repeatable (default: all)");
    add("budget,b", po::value<std::vector<std::string>>()->value_name("LIST"),
        "budgets to show, in any spelling that lava-replay takes: entries, a:b:xK, percent of the prompt or ratio:r, "
        "such as 64,256 or 10%; repeatable (default: all)");
    add("match", po::value<std::string>()->value_name("nominal|retained"),
        "policies at the budget that their rules were given, or at equal retention (default: both, where they differ)");
    add("format,f", po::value<std::string>()->value_name("table|csv|json"),
        "table for people (default); csv and json carry every column in full precision; columns: also markdown");
    add("pivot", po::value<std::string>()->value_name("COLUMN"),
        "table: one quantity, policies against budgets, such as attn_out_l1_relative");
    add("by", po::value<std::string>()->value_name("run|layer|head|report|sample|needle"),
        "how far to break down: spans and bounds to layers, spans to heads, summary and gain to reports, score to "
        "samples or to lengths and depths of a needle (default: run)");
    add("baseline", po::value<std::string>()->value_name("POLICY"),
        "summary, score and plot: policy that the others are compared with, prompt by prompt");
    add("layer,l", po::value<std::vector<std::string>>()->value_name("LIST"),
        "layers, such as 0-29 or 8-11,20, -1 for the last (default: all; gain: 0,-1)");
    add("output,o", po::value<std::string>()->value_name("PATH"),
        "plot: folder for the charts; curves: NumPy file (.npy) to write");
    add("predictions", po::value<std::vector<std::string>>()->value_name("FILE.jsonl"),
        "score: what a model answered, a JSON object a line, gzipped or not, instead of reports; repeatable");
    add("dataset", po::value<std::string>()->value_name("NAME"),
        "score: data set of the predictions (default: what each line, or else the file's name, says)");
    add("metric", po::value<std::string>()->value_name("NAME"),
        "score: metric to score by (default: the data set's, or what a report's prompt names)");
    add("jieba", po::value<std::string>()->value_name("DIR"),
        "score: folder of the Python package jieba 0.42.1, whose dictionary cuts Chinese into words (default: where "
        "Debian's python3-jieba has it)");
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
    for (const char* option :
        {"pivot", "by", "baseline", "layer", "output", "predictions", "dataset", "metric", "jieba"}) {
        const bool taken = std::ranges::any_of(info.options, [&](std::string_view own) { return own == option; });
        if (values.contains(option) && !taken)
            throw UsageError("--" + std::string(option) + " does not go with " + info.name);
    }
    const bool scores_predictions = info.command == Command::score && values.contains("predictions");
    for (const char* option : {"policy", "budget", "match", "baseline"}) {
        if (values.contains(option) && scores_predictions)
            throw UsageError("--" + std::string(option) + " does not go with --predictions, which are of no policy");
    }
    if (values.contains("dataset") && !scores_predictions)
        throw UsageError("--dataset goes with --predictions; a report's prompt says what it is of");
    for (const char* option : {"policy", "budget", "match", "format"}) {
        if (values.contains(option) && info.command == Command::plot && option == std::string_view("format"))
            throw UsageError("--format does not go with plot, which draws PNG, SVG, PDF and CSV");
        if (values.contains(option) && info.command == Command::columns && option != std::string_view("format"))
            throw UsageError("--" + std::string(option) + " does not go with columns, which reads no report");
    }
}

/// What comes between commas in all that was given of an option.
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

/// Numbers and ranges as lava-capture takes them, and numbers below 0, which count from the last layer.
std::vector<std::int64_t> parse_layers(const po::variables_map& values)
{
    std::vector<std::int64_t> layers;
    for (const std::string& item : items_of(values, "layer")) {
        if (item.starts_with('-')) {
            const std::vector<std::int64_t> number = parse_ranges(std::string_view(item).substr(1), "--layer");
            if (number.size() != 1 || number.front() < 1)
                throw UsageError("--layer: expected -1 or below, to count from the last layer, found '" + item + "'");
            layers.push_back(-number.front());
            continue;
        }
        const std::vector<std::int64_t> range = parse_ranges(item, "--layer");
        layers.insert(layers.end(), range.begin(), range.end());
    }
    return layers;
}

std::vector<BudgetItem> parse_budgets(const po::variables_map& values)
{
    std::vector<BudgetItem> items;
    if (!values.contains("budget"))
        return items;
    for (const std::string& list : values["budget"].as<std::vector<std::string>>())
        std::ranges::move(parse_budget_items(list), std::back_inserter(items));
    return items;
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
    if (text == "markdown" && command == Command::columns)
        return TableFormat::markdown;
    throw UsageError(std::string("--format: expected table") + (command == Command::retained ? "" : ", csv")
        + (command == Command::columns ? ", json or markdown" : " or json") + ", found '" + text + "'");
}

std::string parse_match(const po::variables_map& values)
{
    const std::string text = values.contains("match") ? values["match"].as<std::string>() : "";
    if (values.contains("match") && text != "nominal" && text != "retained")
        throw UsageError("--match: expected nominal or retained, found '" + text + "'");
    return text;
}

void parse_detail(const po::variables_map& values, Options& options)
{
    const std::string text = values.contains("by") ? values["by"].as<std::string>() : "run";
    const bool averages = options.command == Command::summary || options.command == Command::gain;
    const bool scores = options.command == Command::score;
    options.by_report = averages && text == "report";
    options.score.by_sample = scores && text == "sample";
    options.by_needle = scores && options.score.predictions.empty() && text == "needle";
    if (text == "run" || options.by_report || options.score.by_sample || options.by_needle)
        return;
    if (!averages && !scores && text == "layer")
        options.by = Detail::layer;
    else if (options.command == Command::spans && text == "head")
        options.by = Detail::head;
    else {
        throw UsageError(std::string("--by: expected run")
            + (averages                                 ? " or report"
                    : scores                            ? ", sample or, of reports, needle"
                    : options.command == Command::spans ? ", layer or head"
                                                        : " or layer")
            + ", found '" + text + "'");
    }
}

/// What --help prints.
std::string help()
{
    std::ostringstream text;
    text
        << "Usage: lava-analyze COMMAND REPORT... [options]\n"
           "Prints what lava-replay found: what each policy keeps at each budget, what that costs, and what became of\n"
           "marked spans. Losses are open loop, every layer reads the recorded residual stream; scores are of what "
           "the\n"
           "model answered to a benchmark from what was retained, or of what any model answered.\n\n"
           "Commands (lava-analyze COMMAND --help says what its columns mean, lava-analyze columns of all):\n";
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

/// What COMMAND --help prints: its own options, the columns that are not evident, an example.
std::string help(const CommandInfo& info)
{
    std::vector<std::string> names(info.options.begin(), info.options.end());
    names.insert(names.begin(), {"policy", "budget", "match", "format"});
    if (info.command == Command::plot)
        std::erase(names, "format");
    if (info.command == Command::gain)
        std::erase(names, "match");
    if (info.command == Command::curves)
        std::erase_if(names, [](const std::string& name) { return name == "match" || name == "budget"; });
    if (info.command == Command::columns)
        names = {"format"};
    names.push_back("help");
    po::options_description options("Options", 100);
    const po::options_description all = visible_options();
    for (const auto& option : all.options()) {
        if (std::ranges::count(names, option->long_name()) > 0)
            options.add(option);
    }
    const char* operands = info.command == Command::columns ? " [TABLE...]"
        : info.command == Command::score                    ? " REPORT...|--predictions FILE.jsonl..."
        : info.command == Command::retained                 ? " REPORT"
                                                            : " REPORT...";
    std::ostringstream text;
    text << "Usage: lava-analyze " << info.name << operands << " [options]\n"
         << "Prints " << info.summary << ".\n\n"
         << options;
    if (const std::string columns = column_help(info.name); !columns.empty())
        text << "\nColumns (of those that --format csv and json carry, a table shows some):\n" << columns;
    if (info.details != nullptr)
        text << '\n' << info.details();
    text << "\nExample:\n  " << info.example << '\n';
    return text.str();
}

void check_one_report(const Options& options, const std::string& command)
{
    if (options.reports.size() != 1)
        throw UsageError(formatted("{}: expected one report, found {}", command, options.reports.size()));
}

void check_score(const Options& options)
{
    if (options.reports.empty() && options.score.predictions.empty())
        throw UsageError("score: expected a report, such as report.h5, or --predictions FILE.jsonl");
    if (!options.reports.empty() && !options.score.predictions.empty())
        throw UsageError("score: expected reports or --predictions, found both: " + options.reports[0].string()
            + " and " + options.score.predictions[0].string());
}

ScoreRequest parse_score(const po::variables_map& values)
{
    const auto text = [&](const char* option) {
        return values.contains(option) ? values[option].as<std::string>() : std::string();
    };
    ScoreRequest request;
    if (values.contains("predictions")) {
        const auto& files = values["predictions"].as<std::vector<std::string>>();
        request.predictions.assign(files.begin(), files.end());
    }
    request.dataset = text("dataset");
    request.metric = text("metric");
    request.jieba = text("jieba");
    return request;
}

void check_plot(const Options& options)
{
    if (options.output.empty())
        throw UsageError("plot: expected a folder: -o DIR");
    const Filter& filter = options.filter;
    const bool chosen = !filter.policies.empty() || !filter.budgets.empty() || !filter.match.empty();
    if (options.reports.size() == 1 && (chosen || !options.baseline.empty()))
        throw UsageError("plot: --policy, --budget, --match and --baseline go with several reports, whose scores are "
                         "drawn; of one report everything is drawn");
    if (filter.budgets.size() > 1)
        throw UsageError("plot: expected one --budget, found " + std::to_string(filter.budgets.size()));
}

void check_command(const Options& options, const CommandInfo& info)
{
    if (options.command == Command::score)
        return check_score(options);
    if (info.command == Command::columns)
        return;
    if (options.reports.empty())
        throw UsageError(std::string(info.name) + ": expected a report, such as report.h5");
    if (options.command == Command::retained) {
        check_one_report(options, info.name);
        const std::size_t budgets = options.filter.budgets.size();
        if (options.filter.policies.size() != 1 || budgets != 1)
            throw UsageError(formatted("retained: expected one --policy and one --budget, found {} and {}",
                options.filter.policies.size(), budgets));
    }
    if (options.command == Command::curves && options.filter.policies.size() != 1)
        throw UsageError(formatted("curves: expected one --policy, found {}", options.filter.policies.size()));
    const bool has_layers = options.command != Command::bounds && options.command != Command::spans;
    if (!options.layers.empty() && !has_layers && options.by == Detail::run)
        throw UsageError("--layer: " + std::string(info.name) + " shows layers with --by layer");
    if (options.command == Command::curves && !options.filter.budgets.empty())
        throw UsageError("--budget does not go with curves, which shows all of a policy's");
    if (options.command == Command::gain && options.filter.policies.size() != 2)
        throw UsageError(
            formatted("gain: expected two policies: -p BASE -p OTHER, found {}", options.filter.policies.size()));
    if (options.command == Command::gain && !options.filter.match.empty())
        throw UsageError("--match does not go with gain, which shows both");
    if (options.command == Command::plot)
        check_plot(options);
}

} // namespace

Options parse_options(int argc, const char* const* argv)
{
    const po::variables_map values = parse(argc, argv);
    Options options;
    if (values.contains("help")) {
        options.help = values.contains("command") ? help(find_command(values)) : help();
        return options;
    }
    if (values.contains("version")) {
        options.command = Command::version;
        return options;
    }
    const CommandInfo& info = find_command(values);
    refuse_options_of_others(values, info);
    options.command = info.command;
    if (values.contains("report")) {
        const auto& reports = values["report"].as<std::vector<std::string>>();
        if (info.command == Command::columns)
            options.tables = reports;
        else
            options.reports.assign(reports.begin(), reports.end());
    }
    if (values.contains("policy"))
        options.filter.policies = values["policy"].as<std::vector<std::string>>();
    options.filter.budgets = parse_budgets(values);
    options.layers = parse_layers(values);
    options.filter.match = parse_match(values);
    options.format = parse_format(values, info.command);
    options.score = parse_score(values);
    parse_detail(values, options);
    if (values.contains("baseline"))
        options.baseline = values["baseline"].as<std::string>();
    if (values.contains("pivot"))
        options.pivot = values["pivot"].as<std::string>();
    if (values.contains("output"))
        options.output = values["output"].as<std::string>();
    check_command(options, info);
    return options;
}

} // namespace lava
