// lava-analyze as a person runs it: what it prints where, and how it ends.

#include "analysis/selection.h"
#include "analysis/tables.h"
#include "tests/analysis/analyze_program.h"
#include "tests/analysis/example_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Analyze : public AnalyzeProgram
{
protected:
    Analyze()
    {
        write_report(folder_ / "report.h5", example_report());
        write_report(folder_ / "lossless.h5", example_report_without_losses());
    }
};

TEST_F(Analyze, PrintsEveryTableInEveryFormat)
{
    ReplayReport report = example_report();
    report.file = "report.h5";
    const auto cells = all_cells(report);
    EXPECT_EQ(run("table report.h5 --format csv").output, to_csv(comparison_table(cells)));
    EXPECT_EQ(run("layers report.h5 --format csv").output, to_csv(layer_table(cells)));
    EXPECT_EQ(run("heads report.h5 --format json").output, to_json(head_table(cells)));
    EXPECT_EQ(run("budgets report.h5 --format csv").output, to_csv(budget_table(cells)));
    EXPECT_EQ(run("map report.h5 --format csv").output, to_csv(budget_map(cells)));
    EXPECT_EQ(run("bounds report.h5 --format csv").output, to_csv(bound_table(cells, Detail::run)));
    EXPECT_EQ(run("bounds report.h5 --by layer -f json").output, to_json(bound_table(cells, Detail::layer)));
    EXPECT_EQ(run("spans report.h5 --by head --format csv").output, to_csv(span_table(cells, Detail::head)));
    EXPECT_EQ(
        run("table --pivot head_l1 report.h5 --format csv").output, to_csv(pivot(comparison_table(cells), "head_l1")));
    const Outcome text = run("table report.h5");
    EXPECT_EQ(text.status, 0);
    EXPECT_EQ(text.output,
        "report.h5: example-llama, 3 layers x 2 KV heads, 24 tokens; open-loop losses over 2 steps\n"
            + to_text(comparison_table(cells)));
    EXPECT_THAT(text.errors, IsEmpty());
}

TEST_F(Analyze, SaysWhereAttentionOutputsWereTakenIfThatIsNotTheResidualStream)
{
    ReplayReport report = example_report();
    report.trace.attn_out_at = "before the post-attention norm";
    write_report(folder_ / "report.h5", report);
    EXPECT_EQ(read_report(folder_ / "report.h5").trace.attn_out_at, report.trace.attn_out_at);
    EXPECT_THAT(run("table report.h5").output,
        HasSubstr("open-loop losses over 2 steps, attention outputs before the post-attention norm\n"));
}

TEST_F(Analyze, PrintsTheRetainedSetOfOnePolicyAtOneBudget)
{
    const ReplayReport report = example_report();
    EXPECT_EQ(run("retained report.h5 --policy 'lava: pool=max' --budget 12 --format json").output,
        retained_json(Cell{report, 2, 1}));
    EXPECT_EQ(run("retained report.h5 -p lava -b 12").output, to_text(retained_table(Cell{report, 2, 1})));
}

TEST_F(Analyze, ShowsOnlyWhatIsAskedFor)
{
    const Outcome outcome = run("table report.h5 -p lava -p streaming-llm -b 6,24 --pivot retained --format csv");
    EXPECT_EQ(outcome.output,
        "report,prompt_id,seq_len,policy,match,6,24\n"
        "report.h5,example,24,streaming-llm,nominal,36,144\n"
        "report.h5,example,24,lava:window=4,nominal,36,144\n");
}

TEST_F(Analyze, ComparesReports)
{
    const Outcome outcome = run("table report.h5 lossless.h5 -p lava -b 6 --pivot retained --format csv");
    EXPECT_EQ(outcome.output,
        "report,prompt_id,seq_len,policy,match,6\n"
        "report.h5,example,24,lava:window=4,nominal,36\n"
        "lossless.h5,example,24,lava:window=4,nominal,36\n");
}

TEST_F(Analyze, ShowsAReportWithoutLosses)
{
    const Outcome outcome = run("table lossless.h5");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.output, HasSubstr("24 tokens; no losses\n"));
    EXPECT_EQ(run("layers lossless.h5").status, 0);
    EXPECT_EQ(run("heads lossless.h5").status, 0);
    expect_refusal("bounds lossless.h5", 1, "lossless.h5: bounds are of losses, and this report has none");
}

TEST_F(Analyze, OpensHelpWithItsPurpose)
{
    const Outcome outcome = run("--help");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.output, StartsWith("Usage: lava-analyze COMMAND REPORT... [options]\nPrints what lava-replay"));
    EXPECT_THAT(run("--version").output, testing::MatchesRegex("lava-analyze [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Analyze, EveryCommandHasHelpOfItsOwn)
{
    for (const char* command : {"table", "layers", "heads", "budgets", "map", "bounds", "spans", "gain", "summary",
             "answers", "retained", "curves", "score", "plot"}) {
        const Outcome outcome = run(std::string(command) + " --help");
        EXPECT_EQ(outcome.status, 0) << command;
        EXPECT_THAT(outcome.output, StartsWith(std::string("Usage: lava-analyze ") + command + " REPORT"));
        EXPECT_THAT(outcome.output, HasSubstr(std::string("\nExample:\n  lava-analyze ") + command + " "));
    }
    EXPECT_THAT(run("layers --help").output, AllOf(HasSubstr("--layer"), Not(HasSubstr("--pivot"))));
    EXPECT_THAT(run("summary --help").output, AllOf(HasSubstr("--baseline"), HasSubstr("  rank_correlation  ")));
    expect_refusal("frobnicate --help", 2, "unknown command 'frobnicate'");
}

TEST_F(Analyze, TellsWhatColumnsMean)
{
    EXPECT_THAT(run("columns").output, HasSubstr("\nduality_gap "));
    EXPECT_THAT(run("columns --format csv").output, StartsWith("column,unit,tables,definition,window\n"));
    EXPECT_THAT(run("columns gain summary -f markdown").output,
        AllOf(StartsWith("| column | unit | tables | definition | window |\n|---|---|---|---|---|\n"),
            HasSubstr("| `kl_sd` | nats | summary |"), Not(HasSubstr("survival"))));
    EXPECT_THAT(run("columns --help").output, StartsWith("Usage: lava-analyze columns [TABLE...]"));
    expect_refusal("columns report.h5", 2, "columns: expected table, layers, heads, budgets, map, bounds, spans, gain");
    expect_refusal("columns -p lava", 2, "--policy does not go with columns");
    expect_refusal("columns -f xml", 2, "--format: expected table, csv, json or markdown, found 'xml'");
    expect_refusal("table report.h5 -f markdown", 2, "--format: expected table, csv or json, found 'markdown'");
}

TEST_F(Analyze, TakesBudgetsAsLavaReplayDoes)
{
    const std::string six = run("table report.h5 -p lava -b 6 --format csv").output;
    for (const char* budget : {"25%", "25.1%", "ratio:0.75", "6:11:x2"})
        EXPECT_EQ(run(std::string("table report.h5 -p lava --format csv -b ") + budget).output, six) << budget;
    EXPECT_EQ(run("gain report.h5 -p snapkv -p lava -b ratio:0.5 -f csv").output,
        run("gain report.h5 -p snapkv -p lava -b 12 -f csv").output);
    expect_refusal("table report.h5 -b 30%", 1, "no budget 30%; there are 6, 12, 24");
    expect_refusal("table report.h5 -b 6:12", 2, "--budget: expected N, a:b:xK, P% or ratio:r, found '6:12'");
}

TEST_F(Analyze, TakesRangesOfLayers)
{
    const auto rows = [&](const std::string& arguments) {
        const Outcome outcome = run(arguments + " report.h5 --format csv");
        EXPECT_EQ(outcome.status, 0) << outcome.errors;
        return std::ranges::count(outcome.output, '\n') - 1;
    };
    EXPECT_EQ(rows("layers -p lava -b 6 -l 0-1"), 2);
    EXPECT_EQ(rows("layers -p lava -b 6 -l 0,2"), 2);
    EXPECT_EQ(rows("budgets -p lava -b 6 -l -1"), 2);
    EXPECT_EQ(rows("gain -p snapkv -p lava -b 6 -l 0-2"), 3);
    EXPECT_EQ(rows("gain -p snapkv -p lava -b 6 -l 0,0,-3"), 1) << "the same layer thrice";
    expect_refusal("layers report.h5 -l 1-3", 1, "--layer: expected -3 to 2, found 3");
    expect_refusal("layers report.h5 -l 2-1", 2, "--layer: expected ascending numbers and ranges such as 0,4-7");
    expect_refusal("bounds report.h5 -l 1", 2, "--layer: bounds shows layers with --by layer");
}

TEST_F(Analyze, RefusesToCountAReportTwice)
{
    std::filesystem::copy_file(folder_ / "report.h5", folder_ / "copy.h5");
    for (const char* command : {"table", "summary", "gain -p snapkv -p lava", "layers"}) {
        for (const char* other : {"copy.h5", "report.h5"})
            expect_refusal(std::string(command) + " report.h5 " + other, 1, std::string("report.h5 and ") + other);
    }
    ReplayReport split = example_report();
    split.policies = {split.policies[0]};
    write_report(folder_ / "streaming.h5", split);
    EXPECT_EQ(run("summary report.h5 streaming.h5 -p lava").status, 0) << "the other has no lava";
    expect_refusal("summary report.h5 streaming.h5", 1, "report.h5 and streaming.h5 both have streaming-llm at 6");
}

TEST_F(Analyze, RefusesReportsOfOtherWeights)
{
    ReplayReport other = example_report();
    other.trace.prompt_ids[3] = 0;
    write_report(folder_ / "prompt.h5", other);
    EXPECT_EQ(run("summary report.h5 prompt.h5").status, 0);
    EXPECT_EQ(run("table report.h5 prompt.h5").status, 0);
    other.trace.weights_sha256 = std::string(64, 'b');
    write_report(folder_ / "weights.h5", other);
    other.trace.weights_sha256.clear();
    other.trace.model_name = "another";
    write_report(folder_ / "name.h5", other);
    for (const char* command : {"table", "summary", "gain -p snapkv -p lava"}) {
        for (const char* file : {"weights.h5", "name.h5"}) {
            expect_refusal(std::string(command) + " report.h5 " + file, 1,
                std::string(file)
                    + ": expected a report of example-llama (3 layers x 2 KV heads of 8, sha256 "
                      "aaaaaaaaaaaa), as report.h5 is, found one of ");
        }
    }
}

TEST_F(Analyze, SummarizesByReportAndAgainstABaseline)
{
    ReplayReport other = example_report();
    other.trace.prompt_ids[3] = 0;
    write_report(folder_ / "prompt.h5", other);
    EXPECT_THAT(run("summary report.h5 prompt.h5 -p lava --baseline snapkv -b 6").output,
        AllOf(HasSubstr("attn_out_l1_relative_difference"), HasSubstr("snapkv:window=4")));
    EXPECT_THAT(run("summary report.h5 prompt.h5 -p lava -b 6 --by report").output, HasSubstr("prompt.h5"));
    EXPECT_THAT(run("gain report.h5 prompt.h5 -p snapkv -p lava -b 6 --by report").output, HasSubstr("prompt.h5"));
    expect_refusal("summary report.h5 --baseline h2o", 1, "no policy 'h2o'");
    expect_refusal("summary report.h5 --by layer", 2, "--by: expected run or report, found 'layer'");
    expect_refusal("table report.h5 --baseline lava", 2, "--baseline does not go with table");
}

TEST_F(Analyze, SaysInWhichWayARetainedSetWasChosen)
{
    ReplayReport report = example_report();
    PolicyReplay twin = report.policies[2];
    twin.match = "retained";
    twin.ranking.clear();
    twin.ranking_of = 2;
    report.policies.push_back(std::move(twin));
    write_report(folder_ / "twins.h5", report);
    const std::string set = "retained twins.h5 -p lava -b 12 --format json";
    EXPECT_THAT(run(set).output, HasSubstr(R"("match":"nominal")"));
    EXPECT_THAT(run(set + " --match retained").output, HasSubstr(R"("match":"retained")"));
}

TEST_F(Analyze, HasNothingToPivotWhereThereAreNoLosses)
{
    expect_refusal("table lossless.h5 --pivot head_l1", 1, "there is no head_l1: the replayed trace had no loss part");
}

TEST_F(Analyze, RefusesWrongUsageWithStatusTwo)
{
    expect_refusal("", 2,
        "expected a command: table, layers, heads, budgets, map, bounds, spans, gain, summary, answers, retained, "
        "curves, score, plot");
    expect_refusal("tables report.h5", 2, "unknown command 'tables'");
    expect_refusal("table", 2, "expected a report");
    expect_refusal("table report.h5 --colour", 2, "--colour");
    expect_refusal("table report.h5 --format xml", 2, "--format: expected table, csv or json, found 'xml'");
    expect_refusal("table report.h5 --budget 0", 2, "--budget: expected at least 1 entry, found '0'");
    expect_refusal("table report.h5 --budget 6,x", 2, "found 'x'");
    expect_refusal("table report.h5 --pivot loss", 2, "--pivot: expected one of");
    expect_refusal("layers report.h5 --pivot head_l1", 2, "--pivot does not go with layers");
    expect_refusal("bounds report.h5 --by head", 2, "--by: expected run or layer, found 'head'");
    expect_refusal("retained report.h5 -p lava", 2, "expected one --policy and one --budget, found 1 and 0");
    expect_refusal("retained report.h5 -p lava -b 6 --format csv", 2, "--format: expected table or json");
    expect_refusal("plot report.h5", 2, "-o DIR");
    expect_refusal(
        "plot report.h5 -o charts -p lava", 2, "plot: --policy, --budget, --match and --baseline go with several");
    expect_refusal("plot report.h5 lossless.h5 -o charts -b 10%,20%", 2, "plot: expected one --budget, found 2");
}

TEST_F(Analyze, FailsWithStatusOneOnWhatIsNotThere)
{
    expect_refusal("table missing.h5", 1, "missing.h5: no such file");
    expect_refusal("table stdout.txt", 1, "stdout.txt: not an HDF5 file");
    expect_refusal("table report.h5 -p h2o", 1, "no policy 'h2o'; there are streaming-llm, snapkv:window=4, lava");
    expect_refusal("table report.h5 -b 7", 1, "no budget 7; there are 6, 12, 24");
    expect_refusal("plot missing.h5 -o charts", 1, "missing.h5: no such file");
}

/// lava-analyze in a folder of its own, beside a lava-gui that only writes down its arguments.
TEST_F(Analyze, LeavesDrawingToTheWindowProgramBesideIt)
{
    std::filesystem::copy_file(LAVA_ANALYZE, folder_ / "lava-analyze");
    const auto plot = [&] {
        const std::string folder = folder_.path().string();
        const std::string command
            = "cd '" + folder + "' && PATH= ./lava-analyze plot report.h5 -o charts 2> stderr.txt";
        const int status = std::system(command.c_str());
        return WEXITSTATUS(status);
    };
    EXPECT_EQ(plot(), 1);
    EXPECT_EQ(file_bytes(folder_ / "stderr.txt"),
        "lava-analyze: lava-gui, which draws the charts, is neither beside lava-analyze nor on PATH: build it with "
        "-DLAVA_WITH_GUI=ON\n");
    std::ofstream(folder_ / "lava-gui") << "#!/bin/sh\necho \"$@\" > arguments.txt\nexit 1\n";
    std::filesystem::permissions(folder_ / "lava-gui", std::filesystem::perms::owner_all);
    EXPECT_EQ(plot(), 1) << "the status of lava-gui is the status of plot";
    EXPECT_EQ(file_bytes(folder_ / "arguments.txt"), "--export charts report.h5\n");
    EXPECT_THAT(file_bytes(folder_ / "stderr.txt"), IsEmpty());
}

TEST_F(Analyze, FailsWhereItsOutputCannotBeWritten)
{
    const std::string command
        = LAVA_ANALYZE " table '" + (folder_ / "report.h5").string() + "' > /dev/full 2> /dev/null";
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1);
}

} // namespace
} // namespace lava
