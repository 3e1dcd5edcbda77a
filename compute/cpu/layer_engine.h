#pragma once

#include "compute/cpu/head_attention.h"
#include "compute/cpu/output_projection.h"
#include "compute/device.h"
#include "compute/head_cuts.h"

#include <span>
#include <vector>

namespace lava {

/// A layer's losses by this processor.
class CpuLayerEngine : public LayerEngine
{
public:
    /// `threads` share the work over KV heads.
    CpuLayerEngine(const LossInputs& inputs, int threads);

    std::vector<double> full_outputs() const override { return full_outputs_; }
    SetLosses losses(const SetRequest& request) const override;

private:
    void keep_full_output(std::int64_t kv_head);
    void head_losses(
        std::int64_t kv_head, const HeadCuts& cuts, std::span<const std::uint32_t> ranking, SetLosses& losses) const;

    LossSizes sizes_;
    std::vector<HeadAttention> attention_; // [num_kv_heads]
    OutputProjection projection_;
    std::vector<double> full_outputs_; // [num_heads, T, head_dim]
};

} // namespace lava
