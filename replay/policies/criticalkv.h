#pragma once

#include "replay/policies/wrapper.h"

namespace lava {

/// CriticalKV (Feng et al. 2025, arXiv:2502.03805) as kvpress 0.5.5 has it: the first stage keeps a share of the
/// budget by the base's scores, the rest goes by (score + epsilon) times the projected value norm.
class CriticalKv : public Wrapper
{
public:
    explicit CriticalKv(const PolicyParams& params);

    PolicyNeeds needs() const override;
    bool ranks_by_budget() const override { return true; }
    bool scores_infinity() const override { return true; } ///< a marked entry's score, scaled or summed again
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

protected:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores}; }

    struct Stages
    {
        at::Tensor entries; ///< [num_kv_heads, seq_len], the base's
        at::Tensor norms; ///< [num_kv_heads, seq_len]
    };
    Stages stages(const LayerScores& scores, const BudgetRequest& request) const;

    /// (score + epsilon) * norm, and the largest float for each head's best `first` entries.
    at::Tensor second_stage(const Stages& stages, std::span<const std::int64_t> first) const;

    double first_stage() const { return first_stage_; }

private:
    double epsilon_;
    double first_stage_;
};

/// CriticalAdaKVPress: AdaKVPress settles how many entries each head keeps, the two stages which.
class CriticalAda : public CriticalKv
{
public:
    explicit CriticalAda(const PolicyParams& params);

    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    double alpha_;
};

} // namespace lava
