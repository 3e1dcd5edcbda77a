#pragma once

// The CPU's inner loops and the one place that chooses an instruction set for all of them.

#include "compute/cpu/attention_tile.h"
#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/row_arithmetic.h"

#include <span>

namespace lava {

/// All inner loops, compiled for one instruction set.
struct Arithmetic
{
    const char* name; ///< "avx512", "avx2", "baseline"
    AttentionArithmetic attention; ///< of a model's prompt
    RowArithmetic rows; ///< between a model's products
    Kernels kernels; ///< of a replay
};

/// What this processor can run, the fastest first.
std::span<const Arithmetic* const> runnable_arithmetic();

/// The fastest that this processor runs, or what use_arithmetic() was given.
const Arithmetic& arithmetic();

/// For measurements: from now on arithmetic() is this, one of runnable_arithmetic().
void use_arithmetic(const Arithmetic& chosen);

inline const Kernels& kernels()
{
    return arithmetic().kernels;
}

} // namespace lava
