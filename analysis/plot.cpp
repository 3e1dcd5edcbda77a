#include "analysis/plot.h"

#include "base/error.h"
#include "base/formatted.h"

#include <cerrno>
#include <cstring>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace lava {

namespace {

/// A path, or the bare name where only PATH is left to ask.
std::string find_gui()
{
    const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    for (const std::filesystem::path& candidate : {folder / "lava-gui", folder / ".." / "gui" / "lava-gui"}) {
        if (::access(candidate.c_str(), X_OK) == 0)
            return candidate.lexically_normal().string();
    }
    return "lava-gui";
}

std::vector<std::string> words_of(const std::string& gui, std::span<const std::filesystem::path> reports,
    const std::filesystem::path& folder, const PlotChoice& choice)
{
    std::vector<std::string> words{gui, "--export", folder.string()};
    const auto add = [&](const char* option, const std::string& value) {
        if (!value.empty())
            words.insert(words.end(), {option, value});
    };
    for (const std::string& policy : choice.policies)
        add("--policy", policy);
    add("--budget", choice.budget);
    add("--match", choice.match);
    add("--baseline", choice.baseline);
    for (const std::filesystem::path& report : reports)
        words.push_back(report.string());
    return words;
}

} // namespace

int plot(std::span<const std::filesystem::path> reports, const std::filesystem::path& folder, const PlotChoice& choice)
{
    const std::string gui = find_gui();
    std::vector<std::string> words = words_of(gui, reports, folder, choice);
    std::vector<char*> arguments;
    for (std::string& word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    const int failure = ::posix_spawnp(&child, gui.c_str(), nullptr, nullptr, arguments.data(), environ);
    if (failure == ENOENT)
        throw Error("lava-gui, which draws the charts, is neither beside lava-analyze nor on PATH: build it with "
                    "-DLAVA_WITH_GUI=ON");
    if (failure != 0)
        throw Error(gui + ": cannot be started: " + std::strerror(failure));
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            throw Error(gui + ": cannot be waited for: " + std::strerror(errno));
    }
    if (WIFSIGNALED(status))
        throw Error(formatted("{}: ended by signal {}", gui, WTERMSIG(status)));
    return WEXITSTATUS(status);
}

} // namespace lava
