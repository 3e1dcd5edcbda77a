#include "gui/options.h"

#include "base/error.h"
#include "base/formatted.h"

#include <QCommandLineParser>

namespace lava::gui {

namespace {

const QString purpose = QStringLiteral(
    "Shows what KV-cache eviction policies keep, what it costs in the residual stream, and what became of the text.\n"
    "Opens a report written by lava-replay; with --screenshot or --export it draws without a display and ends.\n"
    "Of several reports, --export draws the scores of the model's answers (lava-analyze score).");

QList<QCommandLineOption> known_options()
{
    return {
        {{QStringLiteral("h"), QStringLiteral("help")}, QStringLiteral("print this help")},
        {QStringLiteral("version"), QStringLiteral("print the version")},
        {QStringLiteral("screenshot"), QStringLiteral("write a picture of the window (PNG)"), QStringLiteral("FILE")},
        {QStringLiteral("export"), QStringLiteral("write all charts as PNG, SVG and PDF and their numbers as CSV"),
            QStringLiteral("DIR")},
        {QStringLiteral("policy"), QStringLiteral("policy to show first; of several reports those to draw, repeatable"),
            QStringLiteral("NAME")},
        {QStringLiteral("baseline"),
            QStringLiteral("of several reports: policy that the others are compared with, prompt by prompt"),
            QStringLiteral("NAME")},
        {QStringLiteral("budget"),
            QStringLiteral("budget to show first: entries per KV head on average, P% of the prompt or ratio:r"),
            QStringLiteral("N")},
        {QStringLiteral("tab"), QStringLiteral("budgets, layers, comparison or text"), QStringLiteral("NAME")},
        {QStringLiteral("measure"), QStringLiteral("what lists and charts show, such as attn_out_l2_relative"),
            QStringLiteral("NAME")},
        {QStringLiteral("match"),
            QStringLiteral(
                "policies at equal retention (retained, the default) or as their rules were given (nominal)"),
            QStringLiteral("NAME")},
        {QStringLiteral("layer"), QStringLiteral("layer whose kept entries colour the text, -1 for the last"),
            QStringLiteral("N")},
        {QStringLiteral("kv-head"),
            QStringLiteral("head of that layer that keeps a cache: a KV head, or a query head where the policy keeps "
                           "one for each"),
            QStringLiteral("N")},
    };
}

void describe(QCommandLineParser& parser)
{
    parser.setApplicationDescription(purpose);
    parser.addOptions(known_options());
    parser.addPositionalArgument(
        QStringLiteral("REPORT"), QStringLiteral("report written by lava-replay"), QStringLiteral("[REPORT...]"));
}

std::optional<std::string> text(const QCommandLineParser& parser, const QString& name)
{
    return parser.isSet(name) ? std::optional(parser.value(name).toStdString()) : std::nullopt;
}

std::optional<std::int64_t> whole_number(const QCommandLineParser& parser, const QString& name, std::int64_t least)
{
    if (!parser.isSet(name))
        return std::nullopt;
    bool is_number = false;
    const auto number = parser.value(name).toLongLong(&is_number);
    if (!is_number || number < least)
        throw UsageError(formatted("--{}: expected a whole number from {} on, found '{}'", name.toStdString(), least,
            parser.value(name).toStdString()));
    return number;
}

/// Numbers below 0 count from the last layer, as in lava-analyze.
std::optional<std::int64_t> layer(const QCommandLineParser& parser)
{
    const auto given = parser.value(QStringLiteral("layer"));
    bool is_number = false;
    const auto number = given.toLongLong(&is_number);
    if (!parser.isSet(QStringLiteral("layer")))
        return std::nullopt;
    if (!is_number)
        throw UsageError(
            "--layer: expected one layer, such as 3 or -1 for the last, found '" + given.toStdString() + "'");
    return number;
}

std::optional<BudgetItem> budget(const QCommandLineParser& parser)
{
    const auto given = text(parser, QStringLiteral("budget"));
    if (!given)
        return std::nullopt;
    const auto items = parse_budget_items(*given);
    if (items.size() != 1)
        throw UsageError("--budget: expected one budget, found '" + *given + "'");
    return items.front();
}

std::filesystem::path path(const QCommandLineParser& parser, const QString& name)
{
    const auto given = text(parser, name);
    if (given && given->empty())
        throw UsageError("--" + name.toStdString() + ": expected a path, found nothing");
    return given.value_or("");
}

/// Several reports are drawn together, by their scores.
void check_several(const Options& options)
{
    const bool several = !options.reports.empty();
    if (several && options.export_folder.empty())
        throw UsageError("expected one REPORT, found '" + options.reports[1].string()
            + "' too; several go with --export, which draws their scores");
    if (several && (!options.screenshot.empty() || options.tab || options.measure || options.layer))
        throw UsageError("--screenshot, --tab, --measure and --layer go with one REPORT, found "
            + std::to_string(options.reports.size()));
    if (!several && !options.baseline.empty())
        throw UsageError("--baseline goes with several reports, whose scores --export draws");
    if (!several && options.policies.size() > 1)
        throw UsageError("--policy: expected one policy, found '" + options.policies[1] + "' too");
}

void check(const Options& options)
{
    if (options.is_headless() && options.report.empty())
        throw UsageError("--screenshot and --export need a REPORT");
    check_several(options);
    if (options.kv_head && !options.layer)
        throw UsageError("--kv-head needs --layer");
    if (options.report.empty() && (options.policy || options.budget || options.measure || options.layer))
        throw UsageError("--policy, --budget, --measure and --layer need a REPORT");
    if (options.match != "retained" && options.match != "nominal")
        throw UsageError("--match: expected retained or nominal, found '" + options.match + "'");
    const auto& tab = options.tab;
    if (tab && *tab != "budgets" && *tab != "layers" && *tab != "comparison" && *tab != "text")
        throw UsageError("--tab: expected budgets, layers, comparison or text, found '" + *tab + "'");
}

} // namespace

Options parse_options(int argc, char** argv)
{
    QCommandLineParser parser;
    describe(parser);
    QStringList arguments;
    for (int argument = 0; argument < argc; ++argument)
        arguments << QString::fromLocal8Bit(argv[argument]);
    if (!parser.parse(arguments))
        throw UsageError(parser.errorText().toStdString());
    Options options;
    options.show_help = parser.isSet(QStringLiteral("help"));
    options.show_version = parser.isSet(QStringLiteral("version"));
    if (options.show_help || options.show_version)
        return options;
    const auto reports = parser.positionalArguments();
    for (const auto& report : reports)
        if (reports.size() > 1)
            options.reports.emplace_back(report.toStdString());
    for (const auto& policy : parser.values(QStringLiteral("policy")))
        options.policies.push_back(policy.toStdString());
    options.baseline = text(parser, QStringLiteral("baseline")).value_or("");
    options.report = reports.isEmpty() ? std::string() : reports.front().toStdString();
    options.screenshot = path(parser, QStringLiteral("screenshot"));
    options.export_folder = path(parser, QStringLiteral("export"));
    options.policy = text(parser, QStringLiteral("policy"));
    options.match = text(parser, QStringLiteral("match")).value_or("retained");
    options.tab = text(parser, QStringLiteral("tab"));
    options.measure = text(parser, QStringLiteral("measure"));
    options.budget = budget(parser);
    options.layer = layer(parser);
    options.kv_head = whole_number(parser, QStringLiteral("kv-head"), 0);
    check(options);
    return options;
}

std::string help_text()
{
    QCommandLineParser parser;
    describe(parser);
    // QCommandLineParser names the program by its full path; design of all our programs: its bare name
    auto text = parser.helpText();
    const auto first_line_end = text.indexOf(QLatin1Char('\n'));
    text.replace(0, first_line_end, QStringLiteral("Usage: lava-gui [options] [REPORT...]"));
    return text.toStdString();
}

} // namespace lava::gui
