#pragma once

#include "compute/device.h"
#include "traces/layer_view.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lava {

class Decoder;

/// Losses 1-3 of one layer and their bounds for G retained sets, absolute, per evaluation step (method: section 2).
struct LayerLosses
{
    std::vector<float> head_l1; ///< [G, num_heads, T] ||A - Â||_1
    std::vector<float> head_output_l1; ///< [G, num_heads, T] ||(A - Â) V||_1
    std::vector<float> head_output_l2; ///< [G, num_heads, T]
    std::vector<double> attn_out_l1; ///< [G, T] ||y - ŷ||_1
    std::vector<double> attn_out_l2; ///< [G, T]
    std::vector<double>
        layer_out_l1; ///< [G, T] ||x - x̂||_1 of the residual stream after the layer; empty without model
    std::vector<double> layer_out_l2; ///< [G, T]
    std::vector<double> bound_lava; ///< [G, T]
    std::vector<double> bound_adakv; ///< [G, T]
    std::vector<double> bound_projected; ///< [G, T]
};

/// Norms of the uncompressed quantities.
struct LayerNorms
{
    std::vector<float> head_output_l1; ///< [num_heads, T] ||A V||_1
    std::vector<float> head_output_l2; ///< [num_heads, T]
    std::vector<double> attn_out_l1; ///< [T] ||y||_1, b_o included
    std::vector<double> attn_out_l2; ///< [T]
    std::vector<double> layer_out_l1 = {}; ///< [T] ||x||_1 of the residual stream after the layer; empty without model
    std::vector<double> layer_out_l2 = {}; ///< [T]
};

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
    /// `model`, which must outlive this too, the layer's output is compared as well; it needs resid_mid and mlp_out. A
    /// `device` does the work but for the bounds' maxima and the model's; null: this processor.
    explicit LayerAttention(
        const LayerView& layer, int threads = 1, const Decoder* model = nullptr, const ReplayDevice* device = nullptr);
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
