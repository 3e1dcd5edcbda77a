#pragma once

#include <filesystem>

namespace lava {

/// Has lava-gui draw the charts of `report` into `folder`; returns its exit status. lava-gui is looked for beside this
/// program, in the build tree's gui/, and on PATH. Throws Error where there is none.
int plot(const std::filesystem::path& report, const std::filesystem::path& folder);

} // namespace lava
