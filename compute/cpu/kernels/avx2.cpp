#include "compute/cpu/kernels/instruction_set.h"

namespace lava {

extern const Kernels avx2_kernels = kernels_of_width<32>("avx2");

} // namespace lava
