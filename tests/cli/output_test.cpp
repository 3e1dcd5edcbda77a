#include "tests/cli/program.h"

#include <gmock/gmock.h>
#include <vector>

namespace lava::test {

/// Every program that writes a file, up to the file's name. report.h5 and trace.h5 are there.
class Output : public CommandLine
{
protected:
    Output()
    {
        make_trace();
        const auto replayed = run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5");
        EXPECT_EQ(replayed.status, 0) << replayed.err;
    }

    static std::vector<std::string> writers()
    {
        return {
            small_trace,
            "lava-capture --model " + model() + " --prompt Once --continue 2 --embed-weights -o ",
            "lava-replay trace.h5 -p snapkv -b 48 -o ",
            "lava-replay trace.h5 -p snapkv -b 48 -o other.h5 --csv ",
#ifdef LAVA_WITH_GUI
            "lava-gui report.h5 --screenshot ",
#endif
        };
    }
};

TEST_F(Output, AFolderThatIsNotThereIsNamed)
{
    for (const auto& writer : writers())
        expect_refusal(writer + "nowhere/file", 1, {"nowhere"});
}

TEST_F(Output, AFolderThatCannotBeWrittenIsNamed)
{
    // permissions do not bind root, so a file in a folder's place and a file system that takes no files
    write("occupied", "");
    for (const auto& writer : writers()) {
        expect_refusal(writer + "occupied/file", 1, {"occupied"});
        expect_refusal(writer + "/proc/file", 1, {"/proc"});
    }
}

TEST_F(Output, AFullDiskIsAFailureThatLeavesNothing)
{
    // a limit of a few blocks instead of a disk: writing fails in the middle, with EFBIG instead of ENOSPC
    auto all = writers();
    std::erase_if(
        all, [](const auto& writer) { return writer.find("--csv") != std::string::npos; }); // its report fails first
    for (const auto& writer : all) {
        expect_refusal("ulimit -f 1; trap '' XFSZ; " + writer + "file.out", 1, {"file.out"});
        expect_no_output("file.out");
    }
}

TEST_F(Output, WhatWasThereSurvivesAFailure)
{
    write("kept.h5", "precious");
    expect_refusal("ulimit -f 1; trap '' XFSZ; lava-replay trace.h5 -p snapkv -b 48 -o kept.h5", 1, {"kept.h5"});
    EXPECT_EQ(run("cat kept.h5").out, "precious");
}

TEST_F(Output, IsNeverWrittenOverWhatIsRead)
{
    ASSERT_EQ(run("cp trace.h5 before.h5 && ln -s trace.h5 link.h5").status, 0);
    write("prompt.txt", "Once upon a time");
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48 -o trace.h5", 2, {"would be written over trace.h5"});
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48 -o ./link.h5", 2, {"would be written over trace.h5"});
    expect_refusal("lava-replay trace.h5 -p snapkv -b 48 -o x.h5 --csv x.h5", 2, {"would be written over x.h5"});
    expect_refusal("lava-capture --model " + model() + " --prompt-file prompt.txt -o prompt.txt", 2, {"prompt.txt"});
    EXPECT_EQ(run("cmp before.h5 trace.h5").status, 0);
    EXPECT_EQ(run("cat prompt.txt").out, "Once upon a time");
}

TEST_F(Output, IsNeverWrittenOverAFileOfTheModelOrALinkedOne)
{
    ASSERT_EQ(run("cp -r '" + model()
                  + "' model && lava-capture --model model --prompt Once --continue 2 -o t.h5 && "
                    "ln t.h5 hard.h5 && cat model/* t.h5 model.weights.h5 report.h5 > before.bin")
                  .status,
        0);
    write("book.txt", "Once upon a time. The end.");
    write("p.jsonl", "{\"id\": \"model.weights\", \"prompt\": \"Once\"}");
    for (const char* file : {"model.safetensors", "config.json", "tokenizer.bin"}) {
        const auto over = std::string("would be written over model/") + file;
        expect_refusal(std::string("lava-capture --model model --prompt Once -o ./model/") + file, 2, {over});
        expect_refusal(std::string("lava-prompts --model model -o model/") + file, 2, {over});
        expect_refusal(std::string("lava-replay t.h5 -p snapkv -b 2 --model model --csv model/") + file, 2, {over});
    }
    expect_refusal("lava-capture --model model --prompts p.jsonl -o .", 2, {"model.weights.h5: would be written over"});
    expect_refusal("lava-prompts --model model --book book.txt -o book.txt", 2, {"would be written over book.txt"});
    expect_refusal("lava-prompts --model model --benchmark longbench --records p.jsonl -o p.jsonl", 2,
        {"would be written over p.jsonl"});
    expect_refusal("lava-replay t.h5 -p snapkv -b 2 -o model.weights.h5", 2, {"would be written over"});
    expect_refusal("lava-replay t.h5 -p snapkv -b 2 -o hard.h5", 2, {"would be written over t.h5"});
    expect_refusal("lava-replay t.h5 -p snapkv -b 2 -o x.h5 --csv ./x.h5", 2, {"would be written over x.h5"});
    expect_refusal("lava-analyze curves report.h5 -p snapkv -o report.h5", 2, {"would be written over report.h5"});
#ifdef LAVA_WITH_GUI
    expect_refusal("lava-gui report.h5 --screenshot ./report.h5", 2, {"would be written over report.h5"});
#endif
    EXPECT_EQ(run("cat model/* t.h5 model.weights.h5 report.h5 | cmp - before.bin").status, 0);
}

TEST_F(Output, OfCapturesThatRunAtOnceIsWhole)
{
    const std::string capture = "lava-capture --threads 1 --model " + model() + " --prompt Once --continue 2 -o all/";
    const auto ended = run("mkdir all; for i in 1 2 3 4; do " + capture
        + "$i.h5 & pids=\"$pids $!\"; done; "
          "for pid in $pids; do wait $pid || exit 1; done");
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(run("ls -A all").out, "1.h5\n2.h5\n3.h5\n4.h5\nstories260K.weights.h5\n");
    for (const char* trace : {"1", "2", "3", "4"})
        EXPECT_EQ(run(std::string("lava-trace verify all/") + trace + ".h5").status, 0);
}

TEST_F(Output, OfReplaysThatRunAtOnceIsThatOfOne)
{
    const auto ended = run("for i in 1 2 3 4; do lava-replay trace.h5 -p snapkv -b 48 -o same.h5 & pids=\"$pids $!\"; "
                           "done; for pid in $pids; do wait $pid || exit 1; done");
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_EQ(run("cmp same.h5 report.h5").status, 0);
}

TEST_F(Output, WhatExistsIsReplaced)
{
    ASSERT_EQ(run("cp report.h5 first.h5 && lava-replay trace.h5 -p snapkv -b 48 -o report.h5").status, 0);
    EXPECT_EQ(run("cmp first.h5 report.h5").status, 0);
}

#ifdef LAVA_WITH_GUI
TEST_F(Output, OfChartsIsAllOrNothingWhereTheDiskIsFull)
{
    expect_refusal("ulimit -f 40; trap '' XFSZ; lava-gui report.h5 --export charts", 1, {"cannot be written"});
    EXPECT_EQ(run("ls -A charts").out, "");
}

TEST_F(Output, PlotDrawsEachChartAsPngSvgAndPdf)
{
    const auto plotted = run("lava-analyze plot report.h5 -o charts && ls charts/*.png charts/*.svg charts/*.pdf");
    EXPECT_EQ(plotted.status, 0) << plotted.err;
}
#endif

} // namespace lava::test
