#pragma once

#include "traces/synthesize.h"

namespace lava::testing {

/// A small layer with grouped heads, sinks and heavy hitters.
inline SynthesisOptions small_options(std::int64_t seq_len = 200)
{
    SynthesisOptions options;
    options.shape = {.num_layers = 3, .num_heads = 6, .num_kv_heads = 2, .head_dim = 16, .hidden_size = 48};
    options.seq_len = seq_len;
    options.eval_len = 5;
    options.window = 40;
    options.seed = 7;
    return options;
}

} // namespace lava::testing
