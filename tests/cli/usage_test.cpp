#include "tests/cli/program.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>

namespace lava::test {

using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace {

/// How often a full stop ends a word.
int sentences(const std::string& text)
{
    const std::regex stop(R"([a-z]\.(\s|$))");
    return static_cast<int>(std::distance(std::sregex_iterator(text.begin(), text.end(), stop), {}));
}

class EveryProgram : public CommandLine, public ::testing::WithParamInterface<const char*>
{ };

} // namespace

TEST_P(EveryProgram, HelpOpensWithTwoSentencesOnStdout)
{
    const auto help = run(std::string(GetParam()) + " --help");
    EXPECT_EQ(help.status, 0);
    EXPECT_EQ(help.err, "");
    const auto opening = help.out.substr(0, help.out.find("\n\n"));
    EXPECT_EQ(sentences(opening), 2) << opening;
    EXPECT_THAT(help.out, HasSubstr("Usage: " + std::string(GetParam())));
    EXPECT_THAT(help.out, HasSubstr("--version"));
}

TEST_P(EveryProgram, VersionIsOneLine)
{
    const auto version = run(std::string(GetParam()) + " --version");
    EXPECT_EQ(version.status, 0);
    EXPECT_THAT(version.out, StartsWith(GetParam()));
    EXPECT_EQ(std::count(version.out.begin(), version.out.end(), '\n'), 1) << version.out;
}

TEST_P(EveryProgram, AnUnknownOptionIsWrongUsage)
{
    expect_refusal(std::string(GetParam()) + " --no-such-option", 2, {"no-such-option"});
}

TEST_P(EveryProgram, AFullStdoutIsAFailure)
{
    const auto help = run(std::string(GetParam()) + " --help >/dev/full");
    EXPECT_EQ(help.status, 1);
    EXPECT_THAT(help.err, HasSubstr("standard output"));
}

#ifdef LAVA_WITH_GUI
INSTANTIATE_TEST_SUITE_P(Cli, EveryProgram,
    ::testing::Values("lava-trace", "lava-capture", "lava-replay", "lava-analyze", "lava-gui"),
    [](const auto& program) { return std::string(program.param).substr(5); });
#else
INSTANTIATE_TEST_SUITE_P(Cli, EveryProgram,
    ::testing::Values("lava-trace", "lava-capture", "lava-replay", "lava-analyze"),
    [](const auto& program) { return std::string(program.param).substr(5); });
#endif

using Usage = CommandLine;

TEST_F(Usage, OptionsOfBenchmarksThatDoNotGoTogetherAreNamed)
{
    const std::string prompts = "lava-prompts --model " + model() + " -o p.jsonl ";
    expect_refusal(prompts + "--records r.jsonl", 2, {"--records: expected --benchmark with it"});
    expect_refusal(prompts + "--benchmark longbench", 2, {"--records is missing"});
    expect_refusal(prompts + "--benchmark longbench --records r.jsonl --tokens 9", 2, {"--benchmark and --tokens"});
    expect_refusal(prompts + "--benchmark longbench --records r.jsonl --chat --no-chat", 2, {"--chat and --no-chat"});
    expect_refusal(prompts + "--benchmark longbench --records r.jsonl --max-length 1", 2,
        {"--max-length: expected 2 to 100000000, found 1"});
    expect_refusal(
        prompts + "--benchmark needle --records r.txt --lengths 1,x", 2, {"--lengths: expected whole numbers"});
    expect_refusal(prompts + "--benchmark needle --records r.txt --lengths 100 --depths 0,50,50", 2,
        {"--depths: expected numbers that differ, to six digits, found 50 twice"});
    expect_refusal(prompts + "--benchmark needle --records r.txt --lengths 100,100", 2, {"found 100 twice"});
    expect_refusal(prompts + "--benchmark needle --records r.txt --lengths 100 --depths=-0", 2,
        {"--depths: expected numbers from 0 to 100"});
    expect_refusal(
        prompts + "--benchmark ruler --records r.jsonl --variant mine", 2, {"--variant: expected official or kvpress"});
    expect_refusal(prompts + "--benchmark longbench --records r.jsonl", 1, {"r.jsonl: cannot be opened: No such file"});
    write("r.jsonl", "{\"dataset\": \"qasper\"}");
    expect_refusal(
        prompts + "--benchmark longbench --records r.jsonl", 1, {"r.jsonl: line 1: expected the key context"});
    expect_no_output("p.jsonl");
}

TEST_F(Usage, JsonThatIsNestedWithoutEndIsRefusedWhereverAFileMayHaveIt)
{
    const std::string deep(200'000, '[');
    write("deep.json", deep);
    const std::string_view refusal = "JSON nested deeper than 200 levels";
    for (const char* option : {"--ids deep.json", "--prompt a --spans deep.json", "--prompts deep.json"})
        expect_refusal("lava-capture --model " + model() + " -o out " + option, 1, {"deep.json", refusal});
    make_trace();
    for (const char* policy : {"external:file=deep.json", "headkv:file=deep.json", "duo-attention:file=deep.json"})
        expect_refusal(std::string("lava-replay trace.h5 -o out -p ") + policy, 1, {"deep.json", refusal});
    for (const char* name :
        {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors.index.json"}) {
        run("rm -rf model; cp -r " + model() + " model; cp deep.json model/" + name);
        run(name == std::string_view("model.safetensors.index.json") ? "rm model/model.safetensors" : "true");
        expect_refusal("lava-capture --model model --prompt a -o out", 1, {name, refusal});
    }
    expect_no_output("out");
}

TEST_F(Usage, ACommandWithoutItsArgumentsIsWrongUsage)
{
    expect_refusal("lava-trace", 2, {});
    expect_refusal("lava-trace no-such-command", 2, {"no-such-command"});
    expect_refusal("lava-capture", 2, {"--model"});
    expect_refusal("lava-replay", 2, {"TRACE"});
    expect_refusal("lava-analyze", 2, {});
    expect_refusal("lava-analyze no-such-view report.h5", 2, {"no-such-view"});
}

TEST_F(Usage, TheLauncherTellsOfEachCommandAndItsVersion)
{
    const std::string launcher = LAVA_SOURCE_DIR "/lava ";
    for (const std::string command :
        {"setup", "build", "demo", "study", "paper", "gui", "test", "fuzz", "bench", "help"}) {
        const auto help = run(launcher + command + " --help");
        EXPECT_EQ(help.status, 0) << help.err;
        EXPECT_THAT(help.out, StartsWith("Usage: ./lava " + command));
        EXPECT_THAT(help.out, HasSubstr("\nExample: ./lava " + command));
    }
    EXPECT_EQ(run(launcher + "frobnicate --help").status, 2);
    EXPECT_THAT(run(launcher + "--version").out, ::testing::MatchesRegex("lava [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Usage, JsonOutputsParse)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv -p lava -b 48,64 -o report.h5 --json rows.json").status, 0);
    for (const char* command :
        {"cat rows.json", "lava-replay --list-policies --format json", "lava-analyze table report.h5 --format json",
            "lava-analyze layers report.h5 --format json", "lava-analyze heads report.h5 --format json",
            "lava-analyze budgets report.h5 --format json", "lava-analyze bounds report.h5 --format json",
            "lava-analyze retained report.h5 --policy lava --budget 48 --format json"}) {
        const auto printed = run(command);
        EXPECT_EQ(printed.status, 0) << command << '\n' << printed.err;
        EXPECT_EQ(printed.err, "") << command;
        const auto value = nlohmann::json::parse(printed.out, nullptr, false);
        EXPECT_FALSE(value.is_discarded()) << command << '\n' << printed.out;
        EXPECT_FALSE(value.empty()) << command;
    }
}

TEST_F(Usage, ResultsGoToStdoutAndNothingElseDoes)
{
    make_trace();
    const auto replayed = run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5");
    EXPECT_EQ(replayed.status, 0);
    EXPECT_THAT(replayed.out, ::testing::EndsWith("report.h5\n"));
    EXPECT_EQ(replayed.err, ""); // progress is for terminals only
    const auto table = run("lava-analyze table report.h5 --format csv");
    EXPECT_THAT(table.out, StartsWith("report,prompt_id,seq_len,policy,match,budget,"));
    EXPECT_EQ(table.err, "");
}

} // namespace lava::test
