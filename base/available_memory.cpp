#include "base/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include <sys/resource.h>

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

/// What a control group may still take; pages of files that nobody needs just now count as free.
std::int64_t room_in_group(const char* limit_file, const char* used_file, const char* pages_file, const char* pages)
{
    const std::int64_t limit = number_in(limit_file), used = number_in(used_file), idle = number_in(pages_file, pages);
    if (limit == unknown || used == unknown)
        return unknown;
    return std::max<std::int64_t>(0, limit - used + (idle == unknown ? 0 : idle));
}

/// What `ulimit -d` leaves: memory that is this process's own, mapped files that are only read apart.
std::int64_t room_in_data_segment()
{
    struct rlimit limit = {};
    const std::int64_t used = number_in("/proc/self/status", "VmData:");
    if (::getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur > static_cast<rlim_t>(unknown) || used == unknown)
        return unknown;
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(limit.rlim_cur) - used * 1024);
}

} // namespace

std::int64_t available_memory()
{
    const std::int64_t kibibytes = number_in("/proc/meminfo", "MemAvailable:");
    return std::min({kibibytes == unknown ? unknown : kibibytes * 1024, room_in_data_segment(),
        room_in_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat",
            "inactive_file"), // version 2
        room_in_group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file")}); // version 1
}

} // namespace lava
