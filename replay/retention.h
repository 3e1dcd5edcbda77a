#pragma once

#include "compute/device.h"
#include "replay/policy.h"

#include <span>

namespace lava {

/// Sorts a layer's scores: value descending, ties to the older entry. `scores.entries` is [num_kv_heads, seq_len -
/// window]. Protected entries ([seq_len], 1 where protected; may be empty) come before all others, the older first.
/// `device` sorts them.
RankedLayer rank_layer(const LayerScores& scores, std::int64_t seq_len, std::int64_t window,
    std::span<const std::uint8_t> protected_entries = {}, const Device& device = cpu_device());

/// Fills RankedLayer::merged.
void merge_heads(RankedLayer& layer);

} // namespace lava
