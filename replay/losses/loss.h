#pragma once

#include "analysis/losses.h"
#include "compute/device.h"
#include "traces/layer_view.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lava {

class Decoder;

/// Losses 1-4 of one layer and the bounds of loss 3 for G retained sets: [G, ...].
using LayerLosses = LossArrays;

/// Norms of a layer's uncompressed quantities.
using LayerNorms = UncompressedNorms;

/// The attention of a layer's evaluation steps over its whole cache, from which the exact loss of any retained set
/// follows. Built once per layer, shared by all policies and budgets.
///
/// With unnormalised weights a over prompt and decode entries, per query head and step, e = sum over evicted a_i v_i,
/// m the evicted mass, k = sum over kept a_i v_i, s the kept mass: o - ô = (e - (m / s) k) / (m + s). No two outputs
/// are subtracted, so a loss is as exact when one entry is evicted as when all are (method: section 3).
class LayerAttention
{
public:
    /// `layer` must have its loss part (has_losses()) and outlive this. `threads` share the work over heads. With the
    /// `model`, which must outlive this too, the layer's output is compared as well; it needs resid_mid and mlp_out.
    /// The `device` does the work but for the bounds' maxima and the model's.
    explicit LayerAttention(
        const LayerView& layer, int threads = 1, const Decoder* model = nullptr, const Device& device = cpu_device());
    ~LayerAttention();

    const LayerNorms& norms() const;

    /// Retained sets that are prefixes of one ranking. ranking: [num_kv_heads, seq_len], every position once per head;
    /// counts: [G, num_kv_heads], the prefix's length. One pass over V serves all G.
    LayerLosses losses(std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace lava
