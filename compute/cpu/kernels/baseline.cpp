#include "compute/cpu/kernels/instruction_set.h"

namespace lava {

extern const Kernels baseline_kernels = kernels_of_width<16>("baseline");

} // namespace lava
