#include "tests/cli/program.h"

#include <algorithm>
#include <cmath>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace lava::test {

/// trace.h5 has 128 prompt tokens and a window of 32.
class ReplayRefuses : public CommandLine
{
protected:
    ReplayRefuses() { make_trace(); }
    ~ReplayRefuses() override { expect_no_output("report.h5"); }
};

TEST_F(ReplayRefuses, ABudgetOfNothing)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 0 -o report.h5", 2, {"0"});
    expect_refusal("lava-replay trace.h5 -p snapkv -b -5 -o report.h5", 2, {"-5"});
}

TEST_F(ReplayRefuses, ABudgetThatIsNoNumber)
{
    for (const std::string budget : {"many", "48,,64", "64:48:x2", "16:64:x1", "0%", "ratio:1.5", "1e3", "''"})
        expect_refusal("lava-replay trace.h5 -p snapkv -b " + budget + " -o report.h5", 2, {"budget"});
}

TEST_F(ReplayRefuses, ABudgetAboveThePrompt)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 129 -o report.h5", 1, {"129", "128"});
    expect_refusal("lava-replay trace.h5 -p snapkv -b 101% -o report.h5", 1, {"101%", "128"});
}

TEST_F(ReplayRefuses, ABudgetWithinTheWindow)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 32 -o report.h5", 1, {"snapkv", "32"});
    expect_refusal("lava-replay trace.h5 -p lava -b 12 -o report.h5", 1, {"lava", "12", "32"});
}

TEST_F(ReplayRefuses, AnUnknownPolicyAndListsTheKnownOnes)
{
    expect_refusal("lava-replay trace.h5 -p snapvk -b 48 -o report.h5", 2, {"snapvk", "snapkv", "streaming-llm"});
    expect_refusal("lava-replay trace.h5 -p snapkv@nowhere -b 48 -o report.h5", 2, {"nowhere"});
}

TEST_F(ReplayRefuses, AnUnknownParameterOrValue)
{
    expect_refusal("lava-replay trace.h5 -p snapkv:kernle=5 -b 48 -o report.h5", 2, {"snapkv", "kernle", "kernel"});
    expect_refusal("lava-replay trace.h5 -p snapkv:kernel=five -b 48 -o report.h5", 2, {"kernel", "five"});
    expect_refusal("lava-replay trace.h5 -p snapkv:kernel -b 48 -o report.h5", 2, {"kernel"});
    expect_refusal("lava-replay trace.h5 -p snapkv:window=0 -b 48 -o report.h5", 2, {"window", "0"});
}

TEST_F(ReplayRefuses, ATraceThatMemoryDoesNotHold)
{
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer needs more than any limit leaves";
#endif
    ASSERT_EQ(run("lava-trace synth --layers 1 --heads 8 --kv-heads 8 --head-dim 128 --hidden-size 64 --seq-len 8192 "
                  "--eval-len 1 --window 32 -o large.h5")
                  .status,
        0);
    expect_refusal("ulimit -d 80000; lava-replay large.h5 -p snapkv -b 64 -o report.h5", 1, {"not enough memory"});
}

TEST_F(ReplayRefuses, AnUnknownDevice)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48 --device tpu -o report.h5", 2, {"tpu", "cpu or cuda"});
}

TEST_F(ReplayRefuses, AClosedLoopWithoutTheTracesModel)
{
    expect_refusal("lava-replay trace.h5 --closed-loop -o report.h5", 2, {"--closed-loop", "--model"});
    expect_refusal("lava-replay trace.h5 --steps 5 -o report.h5", 2, {"--steps", "--closed-loop"});
    expect_refusal("lava-replay trace.h5 --free -o report.h5", 2, {"--free", "--closed-loop"});
    expect_refusal("lava-replay trace.h5 --no-layer-output -o report.h5", 2, {"--no-layer-output", "--closed-loop"});
    expect_refusal("lava-replay trace.h5 --closed-loop --model nowhere -o report.h5", 1, {"nowhere"});
    const std::string stories = std::string(" --model ") + LAVA_SOURCE_DIR + "/models/stories260K";
    expect_refusal("lava-replay trace.h5 --closed-loop --steps 0 -o report.h5" + stories, 2, {"--steps", "0"});
    expect_refusal("lava-replay trace.h5 --closed-loop --free=0 -o report.h5" + stories, 2, {"--free", "'0'"});
    expect_refusal(
        "lava-replay trace.h5 --closed-loop -o report.h5" + stories, 1, {"--model", "trace.h5", "not the model"});
}

TEST_F(ReplayRefuses, AWindowThatWasNotRecorded)
{
    expect_refusal("lava-replay trace.h5 -p snapkv:window=33 -b 48 -o report.h5", 1, {"33", "32"});
}

TEST_F(ReplayRefuses, ARetainedSetThatDoesNotFit)
{
    expect_refusal("lava-replay trace.h5 -p external:file=missing.json -o report.h5", 1, {"missing.json"});
    write("kept.json",
        R"({"policy": "mine", "budget": 2, "seq_len": 127, "kept": [[[0, 1], [0, 1]], [[0, 1], [0, 1]]]})");
    expect_refusal("lava-replay trace.h5 -p external:file=kept.json -o report.h5", 1, {"kept.json", "127", "128"});
}

TEST_F(ReplayRefuses, ZeroThreads)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48 --threads 0 -o report.h5", 2, {"threads"});
}

TEST_F(ReplayRefuses, ToRunWithoutAnOutput)
{
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48", 2, {"--output"});
}

using Replay = CommandLine;

TEST_F(Replay, ARangeDropsWhatIsAboveThePrompt)
{
    make_trace();
    const auto replayed = run("lava-replay trace.h5 -p snapkv -b 40:400:x2 -o report.h5");
    ASSERT_EQ(replayed.status, 0) << replayed.err;
    const auto table = run("lava-analyze table report.h5 --format csv");
    EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 1 + 2) << table.out; // 40, 80
}

TEST_F(Replay, TheDefaultPoliciesMayBeNamedBesideOthers)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p default -p knorm -b 48 -o report.h5").status, 0);
    ASSERT_EQ(run("lava-replay trace.h5 -b 48 -o default.h5").status, 0);
    const auto listed = run("lava-analyze table report.h5 --format csv");
    EXPECT_THAT(listed.out, testing::HasSubstr(",knorm,"));
    EXPECT_EQ(std::count(listed.out.begin(), listed.out.end(), '\n'), // knorm keeps what it is asked: one row
        1 + std::ranges::count(run("lava-analyze table default.h5 --format csv").out, '\n'));
}

TEST_F(Replay, APolicyIsFoundAgainInAnySpelling)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv:kernel=5,window=8 -b 48 -o report.h5").status, 0);
    const auto one = run("lava-analyze retained report.h5 --policy snapkv:kernel=5,window=8 --budget 48 --format json");
    const auto other
        = run("lava-analyze retained report.h5 --policy snapkv:window=8,kernel=5 --budget 48 --format json");
    EXPECT_EQ(one.status, 0) << one.err;
    EXPECT_EQ(other.status, 0) << other.err;
    EXPECT_EQ(one.out, other.out);
}

TEST_F(Replay, ARetainedSetMadeElsewhereReplaysToTheSameNumbers)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5 && lava-analyze retained report.h5 "
                  "--policy snapkv --budget 48 --format json >kept.json")
                  .status,
        0);
    const auto again = run("lava-replay trace.h5 -p external:file=kept.json -o again.h5");
    ASSERT_EQ(again.status, 0) << again.err;
    const auto before = nlohmann::json::parse(run("lava-analyze table report.h5 --format json").out).at(0);
    const auto after = nlohmann::json::parse(run("lava-analyze table again.h5 --format json").out).at(0);
    for (const auto& [column, value] : before.items()) {
        if (!value.is_number())
            continue;
        // entries are summed in another order, in float32
        EXPECT_NEAR(after.at(column).get<double>(), value.get<double>(), 1e-6 * std::abs(value.get<double>()))
            << column;
    }
}

TEST_F(Replay, AnyNumberOfThreadsWritesTheSameBytes)
{
    make_trace();
    const auto compared = run("lava-replay trace.h5 --threads 1 -o one.h5 --csv one.csv && "
                              "lava-replay trace.h5 --threads 3 -o three.h5 --csv three.csv && "
                              "cmp one.h5 three.h5 && cmp one.csv three.csv");
    EXPECT_EQ(compared.status, 0) << compared.out << compared.err;
}

} // namespace lava::test
