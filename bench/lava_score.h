#pragma once

#include "traces/layer_view.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava::bench {

/// What LAVa keeps of one layer at `budget` entries per KV head: [num_kv_heads, seq_len - 32] bool, by this toolkit.
at::Tensor lava_selection(const LayerView& layer, std::int64_t budget, int threads);

/// What LAVa keeps, by the steps of the peers' codes in plain LibTorch: K repeated for every query head of a group,
/// softmax and mean of the window's attention as whole tensors, pooling, value norms, top-k over the layer.
at::Tensor plain_selection(const LayerView& layer, std::int64_t budget);

} // namespace lava::bench
