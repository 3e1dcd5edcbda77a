#include "compute/cpu/kernels/arithmetic_of_width.h"

namespace lava {

extern const Arithmetic avx512_arithmetic = arithmetic_of_width<64>("avx512");

} // namespace lava
