#pragma once

#include "analysis/table.h"

#include <span>
#include <string>

namespace lava {

/// Every column of every table with unit, tables that have it, definition, and its name in the window. `tables`: the
/// commands whose columns are asked for; empty: all. Throws UsageError for one that prints no table, naming those that
/// do.
Table column_table(std::span<const std::string> tables = {});

/// The table's columns for its help: two blanks, name, definition; lines of at most 120 characters. Those that follow
/// from others by their ending are told once, as NAME_sd. Empty where the command prints no table.
std::string column_help(const std::string& table);

} // namespace lava
