#include "model/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace lava {

namespace {

constexpr std::int64_t unknown = std::numeric_limits<std::int64_t>::max();

/// The number after `label` in a file of "label number" lines, or the first one; unknown where there is none.
std::int64_t number_in(const char* file, const std::string& label = "")
{
    std::ifstream in(file);
    std::string word;
    while (!label.empty() && in >> word && word != label) { }
    std::int64_t number = 0;
    return in >> number ? number : unknown; // a control group without limit says "max"
}

} // namespace

std::int64_t available_memory()
{
    const std::int64_t kibibytes = number_in("/proc/meminfo", "MemAvailable:");
    const std::int64_t of_machine = kibibytes == unknown ? unknown : kibibytes * 1024;
    const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max"),
                       used = number_in("/sys/fs/cgroup/memory.current");
    const std::int64_t of_group
        = limit == unknown || used == unknown ? unknown : std::max<std::int64_t>(0, limit - used);
    return std::min(of_machine, of_group);
}

} // namespace lava
