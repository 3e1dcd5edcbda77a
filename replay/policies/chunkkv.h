#pragma once

#include "replay/policies/wrapper.h"

namespace lava {

/// ChunkKV (Liu et al. 2025, arXiv:2502.00299) as kvpress 0.5.5 has it: the base's scores, summed over the heads of a
/// layer, are averaged over chunks of the prompt, and whole chunks stay, the same in every head. What is kept is a
/// number of chunks, not the budget; the last chunk may be shorter. A prompt shorter than a chunk is left to the base.
class ChunkKv : public Wrapper
{
public:
    explicit ChunkKv(const PolicyParams& params);

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

protected:
    LayerScores wrap(const at::Tensor& scores) const override;

private:
    std::int64_t chunk_;
};

/// ChunkPress of kvpress 0.5.5: the prompt is cut into chunks, each of which is scored by itself and keeps its share.
/// Bases that read queries are refused: of a chunk's own a trace has none.
class ChunkWise : public Wrapper
{
public:
    explicit ChunkWise(const PolicyParams& params);

    bool ranks_by_budget() const override { return true; } // shares are rounded for every chunk
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

protected:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores}; }

private:
    std::int64_t length_;
};

} // namespace lava
