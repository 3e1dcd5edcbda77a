#define LAVA_NAME "baseline"
#define LAVA_LANES 4
#define LAVA_VECTORS 2
#define LAVA_ARITHMETIC attention_baseline

#include "model/attention_tile_impl.h"
