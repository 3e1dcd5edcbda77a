#define LAVA_NAME "baseline"
#define LAVA_LANES 4
#define LAVA_VECTORS 2
#define LAVA_ARITHMETIC arithmetic_baseline

#include "compute/cpu/arithmetic_impl.h"
