// Included by arithmetic_*.cpp, which define LAVA_NAME, LAVA_LANES, LAVA_VECTORS and LAVA_ARITHMETIC: the same source,
// compiled for several instruction sets. Nothing here may have linkage but the table at the end.

#include "compute/cpu/arithmetic.h"
#include "compute/cpu/attention_tile_impl.h"
#include "compute/cpu/row_arithmetic_impl.h"

namespace lava {

const Arithmetic LAVA_ARITHMETIC = {
    LAVA_NAME, {lanes, panel, pack_keys, attend}, {rms_norm, gate, rotate, dots, norm_change, activate, gate_change}};

} // namespace lava
