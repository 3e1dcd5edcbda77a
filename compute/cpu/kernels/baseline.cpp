#include "compute/cpu/kernels/arithmetic_of_width.h"

namespace lava {

extern const Arithmetic baseline_arithmetic = arithmetic_of_width<16>("baseline");

} // namespace lava
