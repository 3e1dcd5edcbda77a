#pragma once

#include <algorithm>
#include <cstdint>

namespace lava {

/// First position that a query at `position` sees in a layer whose sliding window is `size` positions long, its own
/// included; 0: no window.
constexpr std::int64_t first_seen(std::int64_t position, std::int64_t size)
{
    return size == 0 ? 0 : std::max<std::int64_t>(0, position + 1 - size);
}

} // namespace lava
