#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace lava {

/// What of several reports' scores is drawn; every list and text may be empty.
struct PlotChoice
{
    std::vector<std::string> policies;
    std::string budget, match, baseline;
};

/// Has lava-gui draw the charts of a report, or the scores of several, into `folder`; returns its exit status. lava-gui
/// is looked for beside this program, in the build tree's gui/, and on PATH. Throws Error where there is none.
int plot(
    std::span<const std::filesystem::path> reports, const std::filesystem::path& folder, const PlotChoice& choice = {});

} // namespace lava
