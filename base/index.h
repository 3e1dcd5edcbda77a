#pragma once

#include <cstddef>
#include <cstdint>

namespace lava {

/// A place in a standard container; `value` is at least 0.
inline std::size_t index(std::int64_t value)
{
    return static_cast<std::size_t>(value);
}

} // namespace lava
