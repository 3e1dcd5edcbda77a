#pragma once

#include "traces/options.h"

#include <iosfwd>

namespace lava {

/// Writes the chosen part of a dataset as text: a heading, then one line per row of the last axis. Floating-point
/// numbers have as many digits as it takes to read them back.
void print_dataset(const PrintCommand& command, std::ostream& out);

} // namespace lava
