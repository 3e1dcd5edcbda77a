#include "compute/cpu/kernels/arithmetic_of_width.h"

namespace lava {

extern const Arithmetic avx2_arithmetic = arithmetic_of_width<32>("avx2");

} // namespace lava
