#pragma once

#include "tests/temporary_folder.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

namespace lava {

struct Outcome
{
    int status = -1;
    std::string output; ///< stdout
    std::string errors; ///< stderr
};

/// lava-analyze as a person runs it, in a folder of the test's own.
class AnalyzeProgram : public testing::Test
{
protected:
    /// With a PATH that has no lava-gui.
    Outcome run(const std::string& arguments) const
    {
        const std::string command = "cd '" + folder_.path().string() + "' && PATH=/usr/bin:/bin " LAVA_ANALYZE " "
            + arguments + " > stdout.txt 2> stderr.txt";
        const int status = std::system(command.c_str());
        return {WEXITSTATUS(status), file_bytes(folder_ / "stdout.txt"), file_bytes(folder_ / "stderr.txt")};
    }

    /// One line on stderr, nothing on stdout.
    void expect_refusal(const std::string& arguments, int status, const std::string& message) const
    {
        const Outcome outcome = run(arguments);
        EXPECT_EQ(outcome.status, status) << arguments;
        EXPECT_THAT(outcome.output, testing::IsEmpty()) << arguments;
        EXPECT_THAT(outcome.errors, testing::AllOf(testing::StartsWith("lava-analyze: "), testing::HasSubstr(message)))
            << arguments;
        EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << arguments;
    }

    TemporaryFolder folder_;
};

} // namespace lava
