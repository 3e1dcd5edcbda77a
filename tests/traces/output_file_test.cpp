#include "traces/output_file.h"

#include "tests/traces/raw_h5.h"
#include "traces/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

namespace lava::test {

namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;

TEST(OutputFile, AppearsOnlyWhenCommitted)
{
    const TemporaryFolder folder;
    const auto target = folder / "x.txt";
    std::ofstream(target) << "before";
    {
        OutputFile output(target);
        EXPECT_EQ(output.part().filename(), "x.txt.part");
        std::ofstream(output.part()) << "after";
        EXPECT_EQ(file_bytes(target), "before");
        output.commit();
    }
    EXPECT_EQ(file_bytes(target), "after");
    EXPECT_FALSE(fs::exists(folder / "x.txt.part"));
}

TEST(OutputFile, LeavesNothingUncommitted)
{
    const TemporaryFolder folder;
    {
        const OutputFile output(folder / "x.txt");
        EXPECT_TRUE(fs::exists(output.part()));
    }
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(OutputFile, LeavesNothingAfterASignal)
{
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const TemporaryFolder folder;
        const auto child = ::fork();
        if (child == 0) {
            const OutputFile one(folder / "one");
            const OutputFile two(folder / "two");
            ::raise(signal);
            ::_exit(0); // not reached: the signal still ends the process
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
        EXPECT_TRUE(fs::is_empty(folder.path())) << signal;
    }
}

TEST(OutputFile, WritesThroughASymbolicLink)
{
    const TemporaryFolder folder;
    fs::create_directory(folder / "elsewhere");
    std::ofstream(folder / "elsewhere/real") << "before";
    fs::create_symlink(folder / "elsewhere/real", folder / "link");
    write_text_file(folder / "link", "after");
    EXPECT_TRUE(fs::is_symlink(folder / "link"));
    EXPECT_EQ(file_bytes(folder / "elsewhere/real"), "after");
}

TEST(OutputFile, SaysWhyItCannotBeWritten)
{
    const TemporaryFolder folder;
    const auto missing = folder / "no/x.txt";
    EXPECT_EQ(error_of([&] { OutputFile output(missing); }),
        missing.string() + ": cannot be written: there is no folder " + (folder / "no").string());
    EXPECT_EQ(error_of([&] { OutputFile output(folder.path()); }),
        folder.path().string() + ": cannot be written: it is a folder");
    EXPECT_EQ(error_of([] { OutputFile output("/dev/full"); }), "/dev/full: cannot be written: it is no regular file");
    EXPECT_EQ(error_of([] { OutputFile output(""); }), "an output file needs a name");
    const auto long_name = folder / std::string(300, 'x');
    EXPECT_THAT(error_of([&] { OutputFile output(long_name); }), EndsWith("cannot be written: File name too long"));
}

TEST(OutputFile, AReadOnlyFolderIsAnError)
{
    const TemporaryFolder folder;
    fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_exec);
    const auto child = ::fork();
    if (child == 0) {
        if (::geteuid() == 0 && ::setuid(65534) != 0) // root may write anywhere
            ::_exit(2);
        const auto message = error_of([&] { OutputFile output(folder / "x"); });
        ::_exit(message == (folder / "x").string() + ": cannot be written: Permission denied" ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(WriteTextFile, NoticesAFullDevice)
{
    EXPECT_EQ(error_of([] { write_text_file("/dev/full", "text"); }),
        "/dev/full: cannot be written: No space left on device");
}

} // namespace

} // namespace lava::test
