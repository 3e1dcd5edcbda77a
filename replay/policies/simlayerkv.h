#pragma once

#include "replay/policies/parameters.h"
#include "replay/policy.h"

namespace lava {

/// SimLayerKV (Zhang et al. 2024, arXiv:2410.13846) as kvpress 0.5.5 has it: a layer whose last queries pay more than
/// a threshold to the first and the recent tokens is lazy and keeps `sinks` and `recent - last` of them; the others
/// keep all. The data decide, not a budget. A threshold of 1, or a prompt of no more than those, evicts nothing.
class SimLayerKv : public Policy
{
public:
    explicit SimLayerKv(const PolicyParams& params);

    std::int64_t query_rows() const override { return last_; }
    bool ignores_budget() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    bool is_lazy(const LayerInputs& layer) const;

    double threshold_;
    std::int64_t last_;
    std::int64_t recent_;
    std::int64_t sinks_;
};

} // namespace lava
