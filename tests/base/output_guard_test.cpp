#include "base/output_guard.h"

#include "base/error.h"
#include "base/hdf5/h5.h"
#include "tests/base/raw_h5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lava::test {

namespace {

namespace fs = std::filesystem;
using ::testing::UnorderedElementsAre;
using Paths = std::vector<fs::path>;

class OutputGuard : public ::testing::Test
{
protected:
    OutputGuard() { std::ofstream(folder / "in") << "precious"; }

    std::string refusal(const Paths& outputs, const Paths& inputs) const
    {
        try {
            refuse_same_files(outputs, inputs);
        } catch (const UsageError& error) {
            return error.what();
        }
        return {};
    }
    void expect_refused(const fs::path& output) const
    {
        EXPECT_EQ(refusal({output}, {folder / "in"}),
            output.string() + ": would be written over " + (folder / "in").string());
    }

    TemporaryFolder folder;
};

TEST_F(OutputGuard, KnowsAFileByAnyName)
{
    expect_refused(folder / "in");
    expect_refused(folder / "./in");
    fs::create_symlink("in", folder / "soft");
    expect_refused(folder / "soft");
    fs::create_hard_link(folder / "in", folder / "hard");
    expect_refused(folder / "hard");
    fs::create_directory_symlink(".", folder / "here");
    expect_refused(folder / "here/in");
    EXPECT_EQ(refusal({folder / "out", ""}, {folder / "in", ""}), "");
    EXPECT_EQ(refusal({"/dev/null", "/dev/null"}, {"/dev/null"}), "") << "which any number may write to";
}

TEST_F(OutputGuard, KnowsOutputsThatAreTheSame)
{
    const auto x = folder / "x";
    EXPECT_EQ(refusal({x, folder / "./x"}, {}), (folder / "./x").string() + ": would be written over " + x.string());
    fs::create_symlink("x", folder / "link"); // to what is not there yet
    EXPECT_EQ(refusal({x, folder / "link"}, {}), (folder / "link").string() + ": would be written over " + x.string());
}

TEST_F(OutputGuard, KnowsTheFilesOfAModel)
{
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.model", "my.h5", "notes.md"})
        std::ofstream(folder / name) << "x";
    EXPECT_THAT(files_of_model(folder.path()),
        UnorderedElementsAre(folder / "config.json", folder / "model.safetensors", folder / "tokenizer.model"));
    EXPECT_TRUE(files_of_model(folder / "missing").empty());
}

TEST_F(OutputGuard, KnowsWhatATraceLinksTo)
{
    {
        const auto root = h5::Group::create_file(folder / "t.h5");
        const auto layer = root.create_group("layers").create_group("0");
        layer.link_external("w_o", "model.weights.h5", "/layers/0/w_o"); // which need not be there
        root.link_external("logits", "other.h5", "/logits");
    }
    EXPECT_THAT(files_of_trace(folder / "t.h5"),
        UnorderedElementsAre(folder / "t.h5", folder / "model.weights.h5", folder / "other.h5"));
    EXPECT_THAT(files_of_trace(folder / "in"), UnorderedElementsAre(folder / "in"));
}

} // namespace

} // namespace lava::test
