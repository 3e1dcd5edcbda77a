#pragma once

#include "model/arithmetic.h"

#include <span>

namespace lava {

/// What this processor can run, the fastest first.
std::span<const Arithmetic* const> supported_arithmetic();

} // namespace lava
