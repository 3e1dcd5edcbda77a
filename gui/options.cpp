#include "gui/options.h"

#include "base/error.h"

#include <QCommandLineParser>

namespace lava::gui {

namespace {

const QString purpose = QStringLiteral(
    "Shows what KV-cache eviction policies keep, what it costs in the residual stream, and what became of the text.\n"
    "Opens a report written by lava-replay; with --screenshot or --export it draws without a display and ends.");

QList<QCommandLineOption> known_options()
{
    return {
        {{QStringLiteral("h"), QStringLiteral("help")}, QStringLiteral("print this help")},
        {QStringLiteral("version"), QStringLiteral("print the version")},
        {QStringLiteral("screenshot"), QStringLiteral("write a picture of the window (PNG)"), QStringLiteral("FILE")},
        {QStringLiteral("export"), QStringLiteral("write all charts as PNG and SVG and their numbers as CSV"),
            QStringLiteral("DIR")},
        {QStringLiteral("policy"), QStringLiteral("policy to show first"), QStringLiteral("NAME")},
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
        {QStringLiteral("layer"), QStringLiteral("layer whose kept entries colour the text"), QStringLiteral("N")},
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
        QStringLiteral("REPORT"), QStringLiteral("report written by lava-replay"), QStringLiteral("[REPORT]"));
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
        throw UsageError("--" + name.toStdString() + ": expected a whole number from " + std::to_string(least)
            + " on, found '" + parser.value(name).toStdString() + "'");
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

void check(const Options& options)
{
    if (options.is_headless() && options.report.empty())
        throw UsageError("--screenshot and --export need a REPORT");
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
    if (reports.size() > 1)
        throw UsageError("expected one REPORT, found '" + reports[1].toStdString() + "' too");
    options.report = reports.isEmpty() ? std::string() : reports.front().toStdString();
    options.screenshot = path(parser, QStringLiteral("screenshot"));
    options.export_folder = path(parser, QStringLiteral("export"));
    options.policy = text(parser, QStringLiteral("policy"));
    options.match = text(parser, QStringLiteral("match")).value_or("retained");
    options.tab = text(parser, QStringLiteral("tab"));
    options.measure = text(parser, QStringLiteral("measure"));
    options.budget = budget(parser);
    options.layer = whole_number(parser, QStringLiteral("layer"), 0);
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
    text.replace(0, first_line_end, QStringLiteral("Usage: lava-gui [options] [REPORT]"));
    return text.toStdString();
}

} // namespace lava::gui
