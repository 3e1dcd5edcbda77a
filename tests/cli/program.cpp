#include "tests/cli/program.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <sstream>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace lava::test {

namespace {

std::filesystem::path make_folder()
{
    std::string name = (std::filesystem::temp_directory_path() / "lava-cli-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
        throw std::runtime_error("cannot make " + name);
    return name;
}

std::string read_file(const std::filesystem::path& file)
{
    std::ostringstream content;
    content << std::ifstream(file, std::ios::binary).rdbuf();
    return content.str();
}

std::string program_path()
{
    std::string path;
    for (const char* part : {"traces", "capture", "replay", "analysis", "gui"})
        path += std::string(LAVA_BINARY_DIR) + "/" + part + ":";
    return path + "$PATH";
}

} // namespace

CommandLine::CommandLine()
    : folder_(make_folder())
{ }

CommandLine::~CommandLine()
{
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

Outcome CommandLine::run(const std::string& command) const
{
    const auto out = path(".out"), err = path(".err");
    const std::string line = "cd '" + folder_.string() + "' && export QT_QPA_PLATFORM=offscreen PATH=\""
        + program_path() + "\" && { " + command + "; } </dev/null >'" + out.string() + "' 2>'" + err.string() + "'";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
}

void CommandLine::write(std::string_view name, std::string_view content) const
{
    std::ofstream(path(name), std::ios::binary) << content;
}

void CommandLine::make_trace() const
{
    const auto made = run(std::string(small_trace) + "trace.h5");
    ASSERT_EQ(made.status, 0) << made.err;
}

std::string CommandLine::model()
{
    return LAVA_SOURCE_DIR "/models/stories260K";
}

void CommandLine::expect_refusal(
    const std::string& command, int status, std::initializer_list<std::string_view> parts) const
{
    const auto outcome = run(command);
    EXPECT_EQ(outcome.status, status) << command << '\n' << outcome.err;
    EXPECT_EQ(outcome.out, "") << command;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << command << '\n' << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::StartsWith(program_of(command) + ": ")) << command;
    for (const auto part : parts)
        EXPECT_THAT(outcome.err, ::testing::HasSubstr(std::string(part))) << command;
}

void CommandLine::expect_no_output(std::string_view name) const
{
    EXPECT_FALSE(std::filesystem::exists(path(name)));
    const std::string part = "." + std::string(name) + ".";
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
        EXPECT_FALSE(entry.path().filename().string().starts_with(part)) << entry.path();
}

std::string program_of(const std::string& command)
{
    const auto begin = command.find("lava-");
    return command.substr(begin, command.find_first_of(" \n", begin) - begin);
}

} // namespace lava::test
