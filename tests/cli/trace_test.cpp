#include "tests/analysis/raw_h5.h"
#include "tests/cli/program.h"

#include <gmock/gmock.h>

namespace lava::test {

namespace {

/// Programs that read a trace, and those that read a report, each with the file's place left open.
constexpr const char* trace_readers[] = {"lava-trace info ", "lava-trace verify ", "lava-replay -o report.h5 "};
constexpr const char* report_readers[] = {"lava-analyze table ", "lava-analyze spans ", "lava-gui --screenshot s.png "};

} // namespace

using Trace = CommandLine;
using Report = CommandLine;

TEST_F(Trace, AMissingFileIsNamed)
{
    for (const std::string reader : trace_readers)
        expect_refusal(reader + "missing.h5", 1, {"missing.h5", "no such file"});
    expect_no_output("report.h5");
}

TEST_F(Trace, AFolderIsNotATrace)
{
    for (const std::string reader : trace_readers)
        expect_refusal(reader + ".", 1, {"."});
}

TEST_F(Trace, ATextFileIsNotATrace)
{
    write("text.h5", "Once upon a time\n");
    for (const std::string reader : trace_readers)
        expect_refusal(reader + "text.h5", 1, {"text.h5", "HDF5"});
    expect_no_output("report.h5");
}

TEST_F(Trace, ATruncatedTraceIsRefused)
{
    make_trace();
    ASSERT_EQ(run("head -c 9000 trace.h5 >cut.h5").status, 0);
    for (const std::string reader : trace_readers)
        expect_refusal(reader + "cut.h5", 1, {"cut.h5", "truncated"});
}

TEST_F(Trace, ANewerFormatIsRefusedNamingBothVersions)
{
    make_trace();
    RawFile(path("trace.h5")).set_attribute("/", "format_major", 2);
    for (const std::string reader : trace_readers)
        expect_refusal(reader + "trace.h5", 1, {"trace.h5", "2.3", "1.3"});
}

TEST_F(Trace, AReportIsNotATrace)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5").status, 0);
    expect_refusal("lava-trace info report.h5", 1, {"report.h5"});
    expect_refusal("lava-analyze table trace.h5", 1, {"trace.h5"});
}

TEST_F(Report, MissingTextAndTruncatedFilesAreNamed)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5 && head -c 3000 report.h5 >cut.h5").status, 0);
    write("text.h5", "Once upon a time\n");
    for (const std::string reader : report_readers) {
        expect_refusal(reader + "missing.h5", 1, {"missing.h5", "no such file"});
        expect_refusal(reader + "text.h5", 1, {"text.h5", "HDF5"});
        expect_refusal(reader + "cut.h5", 1, {"cut.h5", "truncated"});
    }
}

TEST_F(Report, APolicyOrBudgetThatWasNotReplayedIsNamed)
{
    make_trace();
    ASSERT_EQ(run("lava-replay trace.h5 -p snapkv -b 48 -o report.h5").status, 0);
    expect_refusal("lava-analyze retained report.h5 --policy lava --budget 48", 1, {"lava", "snapkv"});
    expect_refusal("lava-analyze retained report.h5 --policy snapkv --budget 49", 1, {"49", "48"});
}

} // namespace lava::test
