#pragma once

#include "replay/losses/loss.h"

namespace lava {

/// Losses and bounds of one retained set as the definitions read: mask, renormalise, multiply, subtract, all in
/// float64. What LayerAttention::losses is tested and benchmarked against. kept: [num_kv_heads, seq_len] bool.
LayerLosses reference_losses(const LayerView& layer, const at::Tensor& kept);

/// The uncompressed norms in the same way.
LayerNorms reference_norms(const LayerView& layer);

} // namespace lava
