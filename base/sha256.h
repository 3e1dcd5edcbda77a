#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace lava {

/// SHA-256 (FIPS 180-4) of `data`, as 64 lower-case hex digits.
std::string sha256(std::span<const std::byte> data);

} // namespace lava
