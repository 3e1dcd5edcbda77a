#pragma once

#include "analysis/options.h"

#include <span>
#include <string>
#include <vector>

namespace lava {

/// A command of lava-analyze as its help describes it.
struct CommandInfo
{
    const char* name;
    Command command;
    const char* summary;
    std::vector<const char*> options; ///< beyond those that all commands but plot take
    const char* example; ///< a whole command
    std::string (*details)() = nullptr; ///< what its help says besides
};

std::span<const CommandInfo> commands();

} // namespace lava
