#pragma once

#include "traces/synthesize.h"

#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lava {

/// --help or --version: print and be done.
struct PrintText
{
    std::string text;
};

struct InfoCommand
{
    std::filesystem::path trace;
    bool json = false;
    bool check = false; ///< read every number
};

struct VerifyCommand
{
    std::filesystem::path trace;
    bool json = false;
};

/// One axis of --slice: [begin, end), where none is given from the first or to the last.
struct AxisSlice
{
    std::optional<std::int64_t> begin;
    std::optional<std::int64_t> end;
};

struct PrintCommand
{
    std::filesystem::path file;
    std::string dataset;
    std::vector<AxisSlice> slices; ///< of the leading axes
};

struct SynthCommand
{
    SynthesisOptions options;
    std::filesystem::path output;
};

using Command = std::variant<PrintText, InfoCommand, VerifyCommand, PrintCommand, SynthCommand>;

/// Throws UsageError.
Command parse_options(int argc, const char* const* argv);

} // namespace lava
