#pragma once

#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace lava::test {

struct Outcome
{
    int status; ///< exit status, or 128 + signal
    std::string out, err;
};

/// Two layers of 4 query and 2 KV heads, 128 tokens, window 32, 3 evaluation steps; the file's name follows.
inline constexpr const char* small_trace = "lava-trace synth --layers 2 --heads 4 --kv-heads 2 --head-dim 16 "
                                           "--hidden-size 64 --seq-len 128 --eval-len 3 --window 32 --seed 7 -o ";

/// A folder of its own for each test, in which the real programs run as a user types them.
class CommandLine : public ::testing::Test
{
protected:
    CommandLine();
    ~CommandLine() override;

    /// Runs a line of shell with all five programs on PATH, no input, and this test's folder as the working folder.
    Outcome run(const std::string& command) const;
    std::filesystem::path path(std::string_view name) const { return folder_ / name; }
    void write(std::string_view name, std::string_view content) const;

    /// Writes trace.h5, the small trace.
    void make_trace() const;
    /// The folder of the model that this repository carries (context of 512 tokens).
    static std::string model();

    /// The command fails with `status`, silent on stdout, and with one sentence on stderr: "PROGRAM: ..." in which each
    /// of `parts` occurs.
    void expect_refusal(const std::string& command, int status, std::initializer_list<std::string_view> parts) const;
    /// Neither `name` nor a half-written part of it is there.
    void expect_no_output(std::string_view name) const;

private:
    std::filesystem::path folder_;
};

/// The first word of a command, or the one after "VARIABLE=value" and "ulimit ...;" prefixes that names a program.
std::string program_of(const std::string& command);

} // namespace lava::test
