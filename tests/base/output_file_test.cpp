#include "base/output_file.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lava::test {

namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::StartsWith;

TEST(OutputFile, AppearsOnlyWhenCommitted)
{
    const TemporaryFolder folder;
    const auto target = folder / "x.txt";
    std::ofstream(target) << "before";
    {
        OutputFile output(target);
        EXPECT_EQ(output.part().parent_path(), folder.path());
        EXPECT_THAT(output.part().filename().string(), AllOf(StartsWith(".x.txt."), EndsWith(".part")));
        std::ofstream(output.part()) << "after";
        EXPECT_EQ(file_bytes(target), "before");
        output.commit();
    }
    EXPECT_EQ(file_bytes(target), "after");
    fs::remove(target);
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(OutputFile, LeavesAUsersPartAlone)
{
    const TemporaryFolder folder;
    std::ofstream(folder / "x.txt.part") << "mine";
    std::ofstream(folder / "precious") << "mine, too";
    fs::create_symlink(folder / "precious", folder / "y.txt.part");
    write_text_file(folder / "x.txt", "text");
    write_text_file(folder / "y.txt", "text");
    EXPECT_EQ(file_bytes(folder / "x.txt.part"), "mine");
    EXPECT_EQ(file_bytes(folder / "precious"), "mine, too");
    EXPECT_TRUE(fs::is_symlink(folder / "y.txt.part"));
}

TEST(OutputFile, OfSeveralProcessesIsThatOfOne)
{
    const TemporaryFolder folder;
    std::vector<pid_t> children;
    for (char letter = 'a'; letter < 'i'; ++letter) {
        children.push_back(::fork());
        if (children.back() == 0) {
            for (int round = 0; round < 20; ++round)
                write_text_file(folder / "x", std::string(100'000, letter));
            ::_exit(0);
        }
    }
    for (const auto child : children) {
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    const auto bytes = file_bytes(folder / "x");
    EXPECT_EQ(bytes, std::string(100'000, bytes.front()));
    fs::remove(folder / "x");
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(OutputFile, LeavesWhatCameFirstWhereAsked)
{
    const TemporaryFolder folder;
    OutputFile first(folder / "x"), second(folder / "x");
    first.write("first");
    second.write("second");
    EXPECT_TRUE(first.commit_if_absent());
    EXPECT_FALSE(second.commit_if_absent());
    EXPECT_EQ(file_bytes(folder / "x"), "first");
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
    fs::create_symlink("elsewhere/new", folder / "dangling"); // relative to the link's folder
    write_text_file(folder / "dangling", "new");
    EXPECT_TRUE(fs::is_symlink(folder / "dangling"));
    EXPECT_EQ(file_bytes(folder / "elsewhere/new"), "new");
}

TEST(OutputFile, HasTheRightsThatAFileHas)
{
    const TemporaryFolder folder;
    write_text_file(folder / "x", "text");
    std::ofstream(folder / "y") << "text";
    EXPECT_EQ(fs::status(folder / "x").permissions(), fs::status(folder / "y").permissions());
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

TEST(WriteTextFile, LeavesWhatWasThereWhereTheDiskIsFull)
{
    const TemporaryFolder folder;
    write_text_file(folder / "x", "before");
    const auto child = ::fork();
    if (child == 0) {
        const rlimit limit{1000, 1000}; // a limit on the size of files fails a write as a full disk does
        ::signal(SIGXFSZ, SIG_IGN);
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0)
            ::_exit(2);
        const auto message = error_of([&] { write_text_file(folder / "x", std::string(5000, 'x')); });
        ::_exit(message == (folder / "x").string() + ": cannot be written: File too large" ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(file_bytes(folder / "x"), "before");
    fs::remove(folder / "x");
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(WriteTextFile, NoticesAFullDevice)
{
    EXPECT_EQ(error_of([] { write_text_file("/dev/full", "text"); }),
        "/dev/full: cannot be written: No space left on device");
}

} // namespace

} // namespace lava::test
