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

TEST_F(Output, WhatExistsIsReplaced)
{
    ASSERT_EQ(run("cp report.h5 first.h5 && lava-replay trace.h5 -p snapkv -b 48 -o report.h5").status, 0);
    EXPECT_EQ(run("cmp first.h5 report.h5").status, 0);
}

#ifdef LAVA_WITH_GUI
TEST_F(Output, PlotDrawsEachChartAsPngAndSvg)
{
    const auto plotted = run("lava-analyze plot report.h5 -o charts && ls charts/*.png && ls charts/*.svg");
    EXPECT_EQ(plotted.status, 0) << plotted.err;
}
#endif

} // namespace lava::test
