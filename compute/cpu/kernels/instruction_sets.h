#pragma once

#include "compute/cpu/arithmetic.h"

namespace lava {

extern const Arithmetic avx512_arithmetic, avx2_arithmetic, baseline_arithmetic;

} // namespace lava
