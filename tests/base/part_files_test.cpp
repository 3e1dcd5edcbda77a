#include "base/part_files.h"

#include "base/output_file.h"
#include "tests/base/raw_h5.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace lava::test {

namespace {

namespace fs = std::filesystem;

/// Leaves a part of each target, as a process that is killed in the middle does.
void kill_a_writer_of(const fs::path& one, const fs::path& two)
{
    const auto child = ::fork();
    if (child == 0) {
        const OutputFile first(one), second(two);
        ::raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

std::ptrdiff_t count(const fs::path& folder)
{
    return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

/// The name of a part of a process that is no more.
fs::path abandoned_part_of(const fs::path& target)
{
    const auto child = ::fork();
    if (child == 0)
        ::_exit(0);
    ::waitpid(child, nullptr, 0);
    auto name = part_of(target).filename().string();
    const auto own = "." + std::to_string(::getpid()) + "-";
    return target.parent_path() / name.replace(name.find(own), own.size(), "." + std::to_string(child) + "-");
}

TEST(PartFiles, OfAKilledProcessGoWithTheNextWriterOfTheSameTarget)
{
    const TemporaryFolder folder;
    kill_a_writer_of(folder / "x", folder / "x.csv");
    EXPECT_EQ(count(folder.path()), 2);
    write_text_file(folder / "x", "text");
    EXPECT_EQ(count(folder.path()), 2); // the part of x.csv and x
    write_text_file(folder / "x.csv", "text");
    EXPECT_EQ(count(folder.path()), 2);
    EXPECT_TRUE(fs::exists(folder / "x") && fs::exists(folder / "x.csv"));
}

TEST(PartFiles, OfALivingProcessStay)
{
    const TemporaryFolder folder;
    OutputFile output(folder / "x");
    output.write("first");
    const auto child = ::fork();
    if (child == 0) {
        write_text_file(folder / "x", "second");
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_EQ(file_bytes(folder / "x"), "second");
    output.commit();
    EXPECT_EQ(file_bytes(folder / "x"), "first");
}

TEST(PartFiles, ThatAreNotCertainlyAbandonedStay)
{
    const TemporaryFolder folder;
    const auto abandoned = abandoned_part_of(folder / "x");
    const auto name = abandoned.filename().string();
    const auto mark = name.find('-') + 1;
    ASSERT_EQ(name.substr(0, 3), ".x.");
    std::ofstream(abandoned) << "goes";
    const std::string stay[] = {name + "t", name.substr(0, mark) + "0123456789abcdef" + name.substr(mark + 16),
        name.substr(0, mark) + name.substr(mark + 17), ".x.0" + name.substr(mark - 1), ".x.part",
        ".y" + name.substr(2)};
    for (const auto& other : stay)
        std::ofstream(folder / other) << "another name, kernel or process: stays";
    auto link = name;
    link[link.size() - 6] = link[link.size() - 6] == '0' ? '1' : '0';
    fs::create_symlink(folder / "precious", folder / link);
    EXPECT_EQ(count(folder.path()), 8);
    remove_abandoned_parts(folder / "x");
    EXPECT_FALSE(fs::exists(abandoned));
    EXPECT_EQ(count(folder.path()), 7);
}

TEST(PartFiles, AreNotLookedForWhereThereIsNoFolder)
{
    const TemporaryFolder folder;
    EXPECT_NO_THROW(remove_abandoned_parts(folder / "no/x"));
}

} // namespace

} // namespace lava::test
