#pragma once

#include "compute/device.h"
#include "replay/policy.h"

#include <span>

namespace lava {

/// Sorts a layer's scores: value descending, ties to the older entry. `scores.entries` is [num_kv_heads, seq_len -
/// window]. Protected entries ([seq_len], 1 where protected; may be empty) come before all others, the older first.
/// `device`: sorts them; null: this processor does.
RankedLayer rank_layer(const LayerScores& scores, std::int64_t seq_len, std::int64_t window,
    std::span<const std::uint8_t> protected_entries = {}, const ReplayDevice* device = nullptr);

/// Fills RankedLayer::merged.
void merge_heads(RankedLayer& layer);

/// Order of `count` values, largest first, equal values by index: a stable radix sort. -0 equals +0; NaN is not
/// allowed.
void descending_order(const float* values, std::int64_t count, std::uint32_t* order);

} // namespace lava
