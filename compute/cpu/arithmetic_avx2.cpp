#define LAVA_NAME "avx2"
#define LAVA_LANES 8
#define LAVA_VECTORS 2
#define LAVA_ARITHMETIC arithmetic_avx2

#include "compute/cpu/arithmetic_impl.h"
