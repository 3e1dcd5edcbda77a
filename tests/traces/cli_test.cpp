// lava-trace as a user meets it: exit status, stdout and stderr.

#include "tests/base/raw_h5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <sys/wait.h>

namespace lava::test {

namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome
{
    int status;
    std::string out;
    std::string err;
};

/// Runs `lava-trace ARGUMENTS` through the shell; `redirection` comes last.
Outcome run(const std::string& arguments, const std::string& redirection = "")
{
    const TemporaryFolder folder;
    const auto out = folder / "out";
    const auto err = folder / "err";
    const auto line = std::string(LAVA_TRACE_PROGRAM) + " " + arguments + " >" + out.string() + " 2>" + err.string()
        + " " + redirection;
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_bytes(out), file_bytes(err)};
}

TEST(LavaTrace, HelpOpensWithItsPurposeOnStdout)
{
    for (const auto* command : {"", "info ", "verify ", "print ", "synth "}) {
        const auto help = run(std::string(command) + "--help");
        EXPECT_EQ(help.status, 0) << command;
        EXPECT_THAT(help.out, StartsWith("Usage: lava-trace ")) << command;
        EXPECT_EQ(help.err, "") << command;
    }
    EXPECT_THAT(run("--version").out, StartsWith("lava-trace 0."));
}

TEST(LavaTrace, WrongUsageIsOneLineAndStatusTwo)
{
    for (const auto& [arguments, message] : {std::pair{"", "expected a command, info, verify, print or synth"},
             {"show", "expected a command, info, verify, print or synth, found show"}, {"info", "expected a trace"},
             {"info --jsn x", "unrecognised option '--jsn'"}, {"info a b", "expected no more than 1 arguments"},
             {"print x", "expected a dataset, such as layers/00/k"},
             {"print x y --slice 1,a", "--slice: expected N, A:B, A:, :B or : for each axis, found 1,a"},
             {"synth", "expected -o TRACE"},
             {"synth -o x --layers many", "the argument ('many') for option '--layers' is invalid"},
             {"synth -o x --store f8", "--store: expected f32, f16 or bf16, found f8"},
             {"synth -o x --window 0", "synthetic trace: /run: window: expected 1 to 2147483647, found 0"}}) {
        const auto found = run(arguments);
        EXPECT_EQ(found.status, 2) << arguments;
        EXPECT_EQ(found.err, std::string("lava-trace: ") + message + "\n");
        EXPECT_EQ(found.out, "");
    }
}

TEST(LavaTrace, InfoSaysWhatIsInATrace)
{
    const TemporaryFolder folder;
    const auto file = raw_trace(folder / "x.h5").string();
    const auto info = run("info " + file);
    EXPECT_EQ(info.status, 0) << info.err;
    EXPECT_THAT(info.out, HasSubstr("digests      none (of the trace or of its weights file)"));
    EXPECT_THAT(info.out, HasSubstr("2 layers, 4 query heads, 2 KV heads, head_dim 3, hidden_size 5, vocab_size 7"));
    EXPECT_THAT(info.out, HasSubstr("span         needle [1, 3)"));
    EXPECT_THAT(run("info --json " + file).out, HasSubstr("\"seq_len\": 6,"));
}

TEST(LavaTrace, CheckFindsWhatOpeningDoesNotLookAt)
{
    const TemporaryFolder folder;
    const auto file = raw_trace(folder / "x.h5", [](hid_t id) {
        raw_floats(id, "/logits", {2, 7}, std::vector<float>(14, HUGE_VALF));
    }).string();
    EXPECT_EQ(run("info " + file).status, 0);
    const auto check = run("info --check " + file);
    EXPECT_EQ(check.status, 1);
    EXPECT_EQ(check.err, "lava-trace: " + file + ": /logits: expected finite numbers, found infinity at [0, 0]\n");
}

TEST(LavaTrace, VerifyFailsWhereTheOutputIsNotThatOfTheTensors)
{
    const TemporaryFolder folder;
    const auto sound = (folder / "sound.h5").string();
    EXPECT_EQ(run("synth --layers 2 --seq-len 100 --window 9 --store f16 -o " + sound).status, 0);
    const auto verified = run("verify " + sound);
    EXPECT_EQ(verified.status, 0) << verified.err;
    EXPECT_THAT(verified.out, HasSubstr("tolerance (of attn_out, stored as float16)"));
    const auto wrong = raw_trace(folder / "wrong.h5").string(); // its attn_out is a ramp
    const auto refused = run("verify " + wrong);
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err,
        HasSubstr("wrong.h5: does not verify: layer 0: the attention output recomputed with the full cache deviates "
                  "by "));
    EXPECT_THAT(refused.out, HasSubstr("layer  deviation"));
}

TEST(LavaTrace, PrintsThePartThatIsAskedFor)
{
    const TemporaryFolder folder;
    const auto file = raw_trace(folder / "x.h5").string();
    EXPECT_EQ(run("print " + file + " layers/01/k --slice 1,4:,:2").out,
        "# layers/01/k float32 [2, 6, 3]\n7.75 8\n8.5 8.75\n");
    EXPECT_EQ(run("print " + file + " /tokens/eval_ids").out, "# tokens/eval_ids int64 [2]\n1 2\n");
    EXPECT_EQ(run("print " + file + " layers/01/k -s 0,6:7").err,
        "lava-trace: " + file + ": /layers/01/k: --slice: axis 1: expected a part of 0:6, found 6:7\n");
    EXPECT_EQ(run("print " + file + " layers/01").err,
        "lava-trace: " + file + ": /layers/01: expected a dataset, found a group\n");
}

TEST(LavaTrace, NoticesThatItsOutputCouldNotBeWritten)
{
    const TemporaryFolder folder;
    const auto print = "print " + raw_trace(folder / "x.h5").string() + " layers/00/k";
    const auto full = run(print, "1>/dev/full");
    EXPECT_EQ(full.status, 1);
    EXPECT_EQ(full.err, "lava-trace: standard output: cannot be written: No space left on device\n");
    const auto closed = run(print, "1>&-");
    EXPECT_EQ(closed.status, 1);
    EXPECT_EQ(closed.err, "lava-trace: standard output: cannot be written: Bad file descriptor\n");
}

TEST(LavaTrace, AReaderThatIsGoneEndsItQuietly)
{
    const TemporaryFolder folder;
    const auto big = (folder / "big.h5").string();
    ASSERT_EQ(run("synth --layers 1 --seq-len 2000 -o " + big).status, 0);
    const auto err = (folder / "err").string();
    const auto status = (folder / "status").string();
    const auto line = "(" + std::string(LAVA_TRACE_PROGRAM) + " print " + big + " layers/00/k 2>" + err + "; echo $? >"
        + status + ") | head -n 1 >/dev/null";
    EXPECT_EQ(std::system(line.c_str()), 0);
    EXPECT_EQ(file_bytes(err), "");
    EXPECT_EQ(file_bytes(status), "1\n");
}

} // namespace

} // namespace lava::test
