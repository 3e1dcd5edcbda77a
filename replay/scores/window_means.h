#pragma once

#include "compute/device.h"
#include "traces/layer_view.h"

#include <ATen/core/Tensor.h>

namespace lava {

/// [num_heads, seq_len - window]: attention probabilities of the last `window` prompt queries, causal and within the
/// layer's sliding window, softmax over all keys in fp32, averaged over those queries; the window's own columns are
/// dropped, not renormalised.
at::Tensor window_means(
    const LayerView& layer, std::int64_t window, int threads = 1, const Device& device = cpu_device());

} // namespace lava
