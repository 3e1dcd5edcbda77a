#include "compute/cpu/kernels/instruction_set.h"

namespace lava {

extern const Kernels avx512_kernels = kernels_of_width<64>("avx512");

} // namespace lava
