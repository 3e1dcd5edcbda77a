#pragma once

#include "bench/stopwatch.h"

#include <cstdint>
#include <string>

namespace lava::bench {

struct Options
{
    std::string trace; ///< empty: synthetic layers
    std::string shape = "smollm2"; ///< of synthetic layers
    std::int64_t layers = 30;
    std::int64_t tokens = 3500;
    std::int64_t steps = 16;
    std::int64_t policies = 12;
    std::int64_t budgets = 64;
    std::int64_t naive_cells = 4;
    std::int64_t score_tokens = 32768;
    int runs = 5;
    int threads = 1;
    Clock clock = Clock::wall;
    bool growth = false;
    std::string kernels; ///< of arithmetic(), and the libraries' instruction sets with it; empty: the fastest
    bool json = false;
    std::string help; ///< what --help prints; empty unless asked for
};

/// Throws UsageError.
Options parse_options(int argc, char** argv);

} // namespace lava::bench
