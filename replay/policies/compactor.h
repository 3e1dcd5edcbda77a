#pragma once

#include "replay/policies/uniform.h"
#include "replay/scores/compactor.h"

namespace lava {

/// Leverage of the keys before the rotary embedding (kvpress's LeverageScorePress; Chari et al. 2025,
/// arXiv:2507.08143): those that the others do not span stay.
class LeverageScore : public UniformPolicy
{
public:
    explicit LeverageScore(const PolicyParams& params);

    PolicyNeeds needs() const override { return {.rope = true}; }
    LayerScores score(const LayerInputs& layer) const override;

    static std::vector<ParameterInfo> parameters();

private:
    Sketch sketch_;
};

/// Attention inside chunks, not causal, times the value's norm, averaged over three positions (kvpress's
/// NonCausalAttnPress). Reads every query of the prompt: the trace's window must be all of it.
class NonCausal : public UniformPolicy
{
public:
    explicit NonCausal(const PolicyParams& params);

    PolicyNeeds needs() const override { return {.all_queries = true}; }
    LayerScores score(const LayerInputs& layer) const override;

    static std::vector<ParameterInfo> parameters();

private:
    std::int64_t chunk_;
};

/// Compactor (Chari et al. 2025, arXiv:2507.08143; kvpress's CompactorPress): both of these, leverage times the share
/// that is evicted; the first and last tokens tie with the best.
class Compactor : public UniformPolicy
{
public:
    explicit Compactor(const PolicyParams& params);

    PolicyNeeds needs() const override { return {.rope = true, .all_queries = true}; }
    bool ranks_by_budget() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override;
    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    Sketch sketch_;
    std::int64_t chunk_;
    std::int64_t first_;
    std::int64_t last_;
};

} // namespace lava
