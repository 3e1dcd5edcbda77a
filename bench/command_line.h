#pragma once

#include "base/error.h"
#include "bench/stopwatch.h"

#include <boost/program_options.hpp>

#include <string>

namespace lava::bench {

/// The options given. Throws UsageError.
inline boost::program_options::variables_map parsed(
    int argc, const char* const* argv, const boost::program_options::options_description& options)
{
    namespace po = boost::program_options;
    po::variables_map values;
    try {
        po::store(po::parse_command_line(argc, argv, options), values);
        po::notify(values);
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    return values;
}

/// The clock that --clock names. Throws UsageError.
inline Clock clock_named(const std::string& name)
{
    if (name != "wall" && name != "cpu")
        throw UsageError("--clock: expected wall or cpu, found '" + name + "'");
    return name == "cpu" ? Clock::cpu : Clock::wall;
}

} // namespace lava::bench
