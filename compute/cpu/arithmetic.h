#pragma once

#include "compute/cpu/attention_tile.h"
#include "compute/cpu/row_arithmetic.h"

namespace lava {

/// The CPU's inner loops in float32, for one instruction set.
struct Arithmetic
{
    const char* name; ///< "avx512", "avx2", "baseline"
    AttentionArithmetic attention;
    RowArithmetic rows;
};

extern const Arithmetic arithmetic_avx512, arithmetic_avx2, arithmetic_baseline;

} // namespace lava
