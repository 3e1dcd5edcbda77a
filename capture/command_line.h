#pragma once

#include "base/error.h"

#include <boost/program_options.hpp>

#include <string>

namespace lava {

/// The options given, whose names may not be shortened. Throws UsageError, naming an argument that belongs to no
/// option.
inline boost::program_options::variables_map read_command_line(
    int argc, const char* const* argv, const boost::program_options::options_description& options)
{
    namespace po = boost::program_options;
    po::variables_map values;
    try {
        const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
        const po::parsed_options parsed = po::command_line_parser(argc, argv).options(options).style(style).run();
        for (const po::option& option : parsed.options) {
            if (option.position_key >= 0)
                throw UsageError("'" + option.value.front() + "' belongs to no option; --help lists them");
        }
        po::store(parsed, values);
        po::notify(values);
    } catch (const po::error& error) {
        throw UsageError(error.what());
    }
    return values;
}

} // namespace lava
