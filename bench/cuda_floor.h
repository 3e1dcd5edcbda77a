#pragma once

#include "compute/cuda/attention.h"

namespace lava::bench {

/// What the current GPU does at best, measured: the roofs that kernels are compared with.
/// Bytes read and written by a copy within its memory, per second.
double copy_bytes_per_second();
/// Floating-point operations of the attention's tile products alone, from shared memory and without softmax, per
/// second.
double product_flops_per_second(cuda::NumberType type);

} // namespace lava::bench
