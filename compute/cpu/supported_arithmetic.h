#pragma once

#include "compute/cpu/arithmetic.h"

#include <ATen/core/Tensor.h>

#include <span>

namespace lava {

/// What this processor can run, the fastest first.
std::span<const Arithmetic* const> supported_arithmetic();

/// The first of them.
const Arithmetic& fastest_arithmetic();

/// Whether they can work on it: contiguous float32 on the CPU.
bool is_plain(const at::Tensor& x);

} // namespace lava
