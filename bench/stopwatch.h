#pragma once

#include <algorithm>
#include <ctime>
#include <vector>

namespace lava::bench {

/// wall: elapsed; cpu: of all threads of this process, which other programs on the machine disturb less.
enum class Clock
{
    wall,
    cpu
};

inline double seconds_now(Clock clock)
{
    timespec now{};
    clock_gettime(clock == Clock::wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Work> double seconds_of(Clock clock, const Work& work)
{
    const auto begin = seconds_now(clock);
    work();
    return seconds_now(clock) - begin;
}

inline double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

} // namespace lava::bench
