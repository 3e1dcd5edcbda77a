#pragma once

// A seeded generator of layers of any shape, for tests and benchmarks: no model, no file.

#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <filesystem>

namespace lava {

struct SynthesisOptions
{
    ModelShape shape = {.num_layers = 4, .num_heads = 8, .num_kv_heads = 2, .head_dim = 64, .hidden_size = 512};
    std::int64_t seq_len = 1024;
    std::int64_t eval_len = 16; ///< 0: no loss part
    std::int64_t window = 64;
    std::int64_t sliding_window = 0; ///< of every layer; 0: none
    std::int64_t seed = 0;
    StoreType store = StoreType::f32; ///< values are rounded to it, so that a file gives back what was generated
};

/// What a trace of these options says of itself. Throws Error where sizes are absurd or contradict each other.
TraceInfo synthesize_info(const SynthesisOptions& options);

/// Layer `layer`, without any other: the first tokens are sinks, some later ones heavy hitters, near ones are favoured;
/// each head has its temperature and value scale. attn_out is the attention output of these tensors and resid_mid its
/// sum with resid_pre, so the layer verifies; layers do not follow from each other. observed_attention is plausible (it
/// falls with the number of queries that see a token), not computed, and so are the query statistics and the repeat
/// pass. The same options give the same layer, anywhere and with any number of threads, as far as exp, sin, cos and the
/// matrix products of LibTorch agree.
LayerView synthesize_layer(const SynthesisOptions& options, std::int64_t layer);

/// Writes all layers. W_O goes inside the trace.
void synthesize_trace(const SynthesisOptions& options, const std::filesystem::path& file);

} // namespace lava
