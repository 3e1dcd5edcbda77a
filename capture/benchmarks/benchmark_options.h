#pragma once

#include "capture/benchmarks/benchmark_prompts.h"

#include <boost/program_options.hpp>

#include <optional>
#include <string>

namespace lava {

/// The options of lava-prompts that go with --benchmark.
boost::program_options::options_description benchmark_options();

/// What --help says of benchmarks.
std::string benchmark_help();

/// The command that `values` ask for; nothing where --benchmark is not among them. Throws UsageError naming the option
/// that is wrong, or that does not go with the others.
std::optional<BenchmarkCommand> parse_benchmark(const boost::program_options::variables_map& values);

} // namespace lava
