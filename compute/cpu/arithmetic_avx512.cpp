#define LAVA_NAME "avx512"
#define LAVA_LANES 16
#define LAVA_VECTORS 4
#define LAVA_ARITHMETIC arithmetic_avx512

#include "compute/cpu/arithmetic_impl.h"
