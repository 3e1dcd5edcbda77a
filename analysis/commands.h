#pragma once

#include "analysis/options.h"

#include <span>
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
};

std::span<const CommandInfo> commands();

} // namespace lava
