#include "analysis/selection.h"
#include "gui/export.h"
#include "gui/main_window.h"
#include "gui/options.h"

#include "base/error.h"
#include "base/output_file.h"
#include "base/output_guard.h"
#include "base/program.h"

#include <QApplication>
#include <QBuffer>
#include <QHashFunctions>
#include <QTemporaryDir>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

namespace {

using namespace lava;
using namespace lava::gui;

bool is_set(const char* variable)
{
    return !qEnvironmentVariableIsEmpty(variable);
}

/// Chooses Qt's platform before it aborts for want of a display, and gives it the folder it would warn about.
std::unique_ptr<QTemporaryDir> prepare_qt(const Options& options)
{
#ifdef Q_OS_LINUX
    if (options.is_headless() && !is_set("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    if (!is_set("QT_QPA_PLATFORM") && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY"))
        throw Error(
            "no display to open a window on (DISPLAY and WAYLAND_DISPLAY are not set); --screenshot and --export "
            "need none");
    if (!is_set("XDG_RUNTIME_DIR")) {
        auto folder = std::make_unique<QTemporaryDir>();
        qputenv("XDG_RUNTIME_DIR", folder->path().toLocal8Bit());
        return folder;
    }
#endif
    return nullptr;
}

/// While QApplication starts: Qt explains a display it cannot open in several lines and aborts; we do in one and exit.
void tell_only_what_is_fatal(QtMsgType type, const QMessageLogContext&, const QString&)
{
    if (type != QtFatalMsg)
        return;
    std::cerr << "lava-gui: no window can be opened on the display '" << qgetenv("DISPLAY").constData()
              << "' (or QT_QPA_PLATFORM names no platform of Qt); --screenshot and --export need none\n";
    std::_Exit(1);
}

void write_screenshot(MainWindow& window, const std::filesystem::path& file)
{
    QByteArray bytes;
    QBuffer buffer(&bytes);
    if (!buffer.open(QIODevice::WriteOnly) || !window.grab().save(&buffer, "PNG"))
        throw Error(file.string() + ": the window could not be drawn");
    write_text_file(file, bytes.toStdString());
}

int show(const Options& options)
{
    refuse_same_files({&options.screenshot, 1}, {&options.report, 1});
    SharedReport report;
    if (!options.report.empty()) {
        report = std::make_shared<const ReplayReport>(compared_at(read_report(options.report), options.match));
        check_shows_something(*report);
    }
    MainWindow window;
    if (report)
        window.show_report(report);
    window.apply(options);
    if (!options.screenshot.empty())
        write_screenshot(window, options.screenshot);
    if (!options.export_folder.empty()) {
        const auto policy = options.policy ? std::optional(window.cell().policy) : std::nullopt;
        const auto budget = options.budget ? std::optional(window.budget()) : std::nullopt;
        const auto files
            = export_report(report, options.export_folder, policy, budget, {options.report, options.screenshot});
        std::cout << files << " files in " << options.export_folder.string() << '\n';
    }
    if (options.is_headless())
        return 0;
    window.show();
    return QApplication::exec();
}

int draw_scores(const Options& options)
{
    std::vector<ReplayReport> reports;
    for (const auto& file : options.reports)
        reports.push_back(read_report(file));
    const ScoreChoice choice{options.policies, options.budget, options.match, options.baseline};
    const auto files = export_scores(std::move(reports), choice, options.export_folder, options.reports);
    std::cout << files << " files in " << options.export_folder.string() << '\n';
    return 0;
}

int run(int argc, char** argv)
{
    const auto options = parse_options(argc, argv);
    if (options.show_help || options.show_version) {
        std::cout << (options.show_help ? help_text() : "lava-gui " + std::string(version()) + "\n");
        return 0;
    }
    if (options.is_headless())
        QHashSeed::setDeterministicGlobalSeed(); // QPdfWriter writes its fonts in the order of a hash
    const auto runtime_folder = prepare_qt(options);
    qInstallMessageHandler(tell_only_what_is_fatal);
    QApplication application(argc, argv);
    qInstallMessageHandler(nullptr);
    QApplication::setApplicationName(QStringLiteral("lava-gui"));
    return options.reports.empty() ? show(options) : draw_scores(options);
}

} // namespace

int main(int argc, char** argv)
{
    return lava::run_program("lava-gui", [&] { return run(argc, argv); });
}
