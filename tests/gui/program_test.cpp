#include "base/output_file.h"
#include "tests/analysis/scored_report.h"
#include "tests/gui/example.h"
#include "tests/temporary_folder.h"

#include <QImage>
#include <QProcess>
#include <QSvgRenderer>
#include <QXmlStreamReader>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <unistd.h>

namespace lava::gui {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct Ended
{
    int status = 0;
    std::string out, err;
};

/// Runs lava-gui as a shell without a desktop would, or with a display.
Ended run(const std::vector<std::string>& arguments, const char* display = nullptr)
{
    QProcess program;
    auto environment = QProcessEnvironment::systemEnvironment();
    for (const auto* name : {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "XDG_RUNTIME_DIR"})
        environment.remove(QLatin1String(name));
    if (display)
        environment.insert(QStringLiteral("DISPLAY"), QLatin1String(display));
    program.setProcessEnvironment(environment);
    QStringList list;
    for (const auto& argument : arguments)
        list << QString::fromStdString(argument);
    program.start(QStringLiteral(LAVA_GUI), list);
    program.waitForFinished(120000);
    return {program.exitStatus() == QProcess::NormalExit ? program.exitCode() : -1,
        program.readAllStandardOutput().toStdString(), program.readAllStandardError().toStdString()};
}

class Program : public testing::Test
{
protected:
    Program() { write_report(report, example_report()); }

    void expect_one_sentence(const Ended& ended, int status, const std::string& part)
    {
        EXPECT_EQ(ended.status, status) << ended.err;
        EXPECT_EQ(ended.out, "");
        EXPECT_THAT(ended.err, StartsWith("lava-gui: "));
        EXPECT_THAT(ended.err, HasSubstr(part));
        EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
    }

    TemporaryFolder folder;
    std::string report = (folder / "report.h5").string();
};

TEST_F(Program, ExportsChartsThatDecodeAndNumbersThatMatch)
{
    const auto out = folder / "charts";
    const auto ended = run({"--export", out.string(), report});
    ASSERT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(ended.err, "");
    int pngs = 0, svgs = 0, pdfs = 0, csvs = 0;
    for (const auto& entry : std::filesystem::directory_iterator(out)) {
        const auto file = QString::fromStdString(entry.path().string());
        EXPECT_GT(entry.file_size(), 0U) << entry.path();
        if (entry.path().extension() == ".png") {
            ++pngs;
            EXPECT_FALSE(QImage(file).isNull()) << entry.path();
        } else if (entry.path().extension() == ".svg") {
            ++svgs;
            EXPECT_TRUE(QSvgRenderer(file).isValid()) << entry.path();
        } else if (entry.path().extension() == ".pdf") {
            ++pdfs;
            EXPECT_THAT(file_bytes(entry.path()), AllOf(StartsWith("%PDF-"), HasSubstr("%%EOF"))) << entry.path();
        } else if (entry.path().extension() == ".csv") {
            ++csvs;
        } else {
            ADD_FAILURE() << "unexpected " << entry.path();
        }
    }
    EXPECT_EQ(pngs, 8); // loss, survival, and a map and layers of three policies
    EXPECT_EQ(svgs, 8);
    EXPECT_EQ(pdfs, 8);
    EXPECT_EQ(csvs, 8);
    EXPECT_THAT(file_bytes(out / "budget_map_lava_window=4_B12.csv"),
        HasSubstr(",example,24,lava:window=4,nominal,12,0.5,12,1,0,17\n"));
    EXPECT_THAT(file_bytes(out / "loss_vs_budget.csv"), HasSubstr(",lava:window=4,nominal,24,1,24,144,144,144,0,0,"));
}

TEST_F(Program, ExportsTheSameBytesTwice)
{
    ASSERT_EQ(run({"--export", (folder / "a").string(), report}).status, 0);
    ASSERT_EQ(run({"--export", (folder / "b").string(), report}).status, 0);
    for (const auto& entry : std::filesystem::directory_iterator(folder / "a"))
        EXPECT_EQ(file_bytes(entry.path()), file_bytes(folder / "b" / entry.path().filename())) << entry.path();
}

TEST_F(Program, ExportsTheScoresOfSeveralReports)
{
    auto needle = scoring_of_question("needle");
    needle["metric"] = "needle";
    needle["benchmark"] = "needle";
    std::vector<std::string> arguments;
    for (int i = 0; i < 4; ++i) {
        needle["record"] = {{"length", i < 2 ? 1024 : 2048}, {"depth", 50 * (i % 2)}};
        const auto by = i < 2 ? scoring_of_question(i == 0 ? "hotpotqa" : "musique") : needle;
        const auto scored = scored_report(i, by, "red ball", {{"no"}, {"red"}, {"red ball"}});
        arguments.push_back((folder / scored.file).string());
        write_report(arguments.back(), scored);
    }
    const auto out = folder / "scores";
    arguments.insert(arguments.end(), {"--baseline", "snapkv", "--budget", "50%", "--export"});
    auto again = arguments;
    arguments.push_back(out.string());
    const auto ended = run(arguments);
    ASSERT_EQ(ended.status, 0) << ended.err;
    EXPECT_THAT(ended.out, StartsWith("72 files in "));
    for (const char* stem :
        {"score_longbench_hotpotqa_qa_f1", "score_longbench_musique_qa_f1", "score_longbench_all_tasks",
            "score_needle_needle_rouge_1", "score_needle_needle_word_overlap", "wins_longbench_hotpotqa_qa_f1_P50",
            "wins_longbench_musique_qa_f1_P50", "wins_longbench_all_tasks_P50", "wins_needle_needle_rouge_1_P50",
            "wins_needle_needle_word_overlap_P50", "needle_rouge_1_whole_cache", "needle_rouge_1_lava_window=4_P50",
            "needle_rouge_1_snapkv_window=4_P50", "needle_word_overlap_streaming-llm_P50"})
        for (const char* kind : {".png", ".svg", ".pdf", ".csv"})
            EXPECT_TRUE(std::filesystem::exists(out / (std::string(stem) + kind))) << stem << kind;
    EXPECT_THAT(file_bytes(out / "wins_longbench_all_tasks_P50.csv"), // 1 - 2/3 more than the baseline, twice
        HasSubstr(
            ",,,,lava:window=4,nominal,12,50,12,0.5,2,2,1,,,,100,1,snapkv:window=4,0.33333333333333337,,,2,0,0\n"));
    EXPECT_FALSE(QImage(QString::fromStdString((out / "score_longbench_all_tasks.png").string())).isNull());
    expect_one_sentence(run({report, arguments.front(), "--export", "x"}), 1,
        "report.h5: does not say what its answers are scored by: expected a replay");
    again.push_back((folder / "again").string());
    ASSERT_EQ(run(again).status, 0);
    for (const auto& entry : std::filesystem::directory_iterator(out))
        EXPECT_EQ(file_bytes(entry.path()), file_bytes(folder / "again" / entry.path().filename())) << entry.path();
}

TEST_F(Program, SvgCarriesTheTextOfTheChart)
{
    ASSERT_EQ(run({"--export", (folder / "out").string(), report}).status, 0);
    QXmlStreamReader reader(QByteArray::fromStdString(file_bytes(folder / "out" / "loss_vs_budget.svg")));
    QString text;
    while (!reader.atEnd())
        if (reader.readNext() == QXmlStreamReader::Characters)
            text += reader.text();
    EXPECT_FALSE(reader.hasError()) << reader.errorString().toStdString();
    EXPECT_THAT(text.toStdString(), HasSubstr("attn_out_l1_relative"));
    EXPECT_THAT(text.toStdString(), HasSubstr("snapkv:window=4"));
}

TEST_F(Program, ScreenshotsShowWhatIsAskedFor)
{
    std::vector<QImage> seen;
    for (const std::string tab : {"budgets", "layers", "comparison", "text"}) {
        const auto file = folder / (tab + ".png");
        const auto ended
            = run({"--tab", tab, "--policy", "lava", "--budget", "6", "--screenshot", file.string(), report});
        EXPECT_EQ(ended.status, 0) << ended.err;
        EXPECT_EQ(ended.err, "");
        const QImage image(QString::fromStdString(file.string()));
        EXPECT_EQ(image.size(), QSize(1280, 800));
        for (const auto& other : seen)
            EXPECT_NE(image, other) << tab;
        seen.push_back(image);
    }
}

TEST_F(Program, ExportsAReportWithoutLosses)
{
    write_report(report, example_report_without_losses());
    EXPECT_EQ(run({"--export", (folder / "out").string(), report}).status, 0);
    EXPECT_THAT(file_bytes(folder / "out" / "loss_vs_budget.svg"), HasSubstr("No losses"));
}

TEST_F(Program, TakesABudgetAsLavaReplayDoes)
{
    const auto picture = [&](const char* budget) {
        const auto file = folder / "budget.png";
        const auto ended = run({"--policy", "lava", "--budget", budget, "--screenshot", file.string(), report});
        EXPECT_EQ(ended.status, 0) << ended.err;
        return file_bytes(file);
    };
    const auto six = picture("6"); // of 24 tokens
    EXPECT_EQ(picture("25%"), six);
    EXPECT_EQ(picture("ratio:0.75"), six);
    EXPECT_EQ(picture("6:11:x2"), six);
    EXPECT_NE(picture("50%"), six);
    const auto png = (folder / "x.png").string();
    expect_one_sentence(run({"--budget", "6,12", "--screenshot", png, report}), 2, "expected one budget");
    expect_one_sentence(run({"--budget", "6:24:x2", "--screenshot", png, report}), 1, "which names 6, 12, 24");
    expect_one_sentence(run({"--budget", "33%", "--screenshot", png, report}), 1, "has no '33%'; it has 6, 12, 24");
}

TEST_F(Program, ShowsHeadsOfAPolicyWithACacheForEachQueryHead)
{
    write_report(report, *shared_example_with_query_heads());
    const auto png = (folder / "x.png").string();
    EXPECT_EQ(run({"--policy", "compose:layout=query_head", "--layer", "2", "--kv-head", "3", "--tab", "text",
                      "--screenshot", png, report})
                  .status,
        0);
    expect_one_sentence(run({"--policy", "lava", "--layer", "2", "--kv-head", "3", "--screenshot", png, report}), 1,
        "--kv-head: expected a number of 0-1, found 3");
}

TEST_F(Program, TakesALayerCountedFromTheLast)
{
    const auto picture = [&](const std::string& layer) {
        const auto png = folder / "x.png";
        std::filesystem::remove(png);
        EXPECT_EQ(run({"--layer", layer, "--tab", "text", "--screenshot", png.string(), report}).status, 0) << layer;
        return file_bytes(png);
    };
    EXPECT_EQ(picture("-1"), picture("2"));
    EXPECT_NE(picture("-2"), picture("2"));
    const auto png = (folder / "x.png").string();
    expect_one_sentence(run({"--layer", "-4", "--screenshot", png, report}), 1, "--layer: expected a number of 0-2");
    expect_one_sentence(run({"--layer", "0-2", "--screenshot", png, report}), 2,
        "--layer: expected one layer, such as 3 or -1 for the last, found '0-2'");
}

TEST_F(Program, HelpAndVersionNeedNoDisplay)
{
    EXPECT_THAT(run({"--help"}).out, StartsWith("Usage: lava-gui [options] [REPORT...]\nShows "));
    EXPECT_THAT(run({"--version"}).out, StartsWith("lava-gui "));
}

TEST_F(Program, WrongUsageIsOneSentenceAndTwo)
{
    expect_one_sentence(run({"--frobnicate"}), 2, "frobnicate");
    expect_one_sentence(run({"--screenshot", "x.png"}), 2, "need a REPORT");
    expect_one_sentence(run({report, report}), 2, "expected one REPORT");
    expect_one_sentence(run({report, report, "--export", "x", "--tab", "text"}), 2, "go with one REPORT, found 2");
    expect_one_sentence(run({report, "--export", "x", "--baseline", "lava"}), 2, "--baseline goes with several");
    expect_one_sentence(run({"--budget", "many", "--screenshot", "x.png", report}), 2, "found 'many'");
    expect_one_sentence(
        run({"--budget", "0", "--screenshot", "x.png", report}), 2, "expected at least 1 entry, found '0'");
    expect_one_sentence(run({"--tab", "colours", "--screenshot", "x.png", report}), 2, "found 'colours'");
    expect_one_sentence(run({"--kv-head", "1", "--screenshot", "x.png", report}), 2, "--kv-head needs --layer");
}

TEST_F(Program, FailuresAreOneSentenceAndOne)
{
    const auto png = (folder / "x.png").string();
    expect_one_sentence(run({(folder / "missing.h5").string(), "--screenshot", png}), 1, "missing.h5");
    write_text_file(folder / "text.h5", "no report");
    expect_one_sentence(run({(folder / "text.h5").string(), "--screenshot", png}), 1, "text.h5");
    expect_one_sentence(run({report, "--policy", "h2o", "--screenshot", png}), 1, "h2o");
    expect_one_sentence(run({report, "--budget", "7", "--screenshot", png}), 1, "6, 12, 24");
    expect_one_sentence(run({report, "--screenshot", (folder / "none" / "x.png").string()}), 1, "none");
    expect_one_sentence(run({report, "--export", (folder / "text.h5").string()}), 1, "text.h5");
    expect_one_sentence(run({report}), 1, "no display");
    expect_one_sentence(run({report}, ":54321"), 1, "on the display ':54321'");
    expect_one_sentence(run({report, "--screenshot", "/dev/full"}), 1, "/dev/full");
    EXPECT_FALSE(std::filesystem::exists(png));
}

TEST_F(Program, ReadOnlyFolderIsOneSentence)
{
    const auto locked = folder / "locked";
    std::filesystem::create_directory(locked);
    std::filesystem::permissions(locked, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    // root may write everywhere but in /proc
    const auto out = ::access(locked.c_str(), W_OK) == 0 ? std::string("/proc") : locked.string();
    expect_one_sentence(run({report, "--export", out}), 1, out);
}

} // namespace

} // namespace lava::gui
