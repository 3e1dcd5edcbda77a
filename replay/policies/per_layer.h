#pragma once

#include "replay/policies/numbers_file.h"
#include "replay/policies/wrapper.h"

namespace lava {

/// A compression ratio for every layer, one number in a line of a file, over any scores (kvpress 0.5.5's
/// PerLayerCompressionPress): a layer keeps max(1, int(N (1 - ratio))) entries in every head, all where its ratio is 0,
/// none where it is 1.
class PerLayer : public Wrapper
{
public:
    /// Throws UsageError for a base that ranks anew for every budget: there is none here.
    explicit PerLayer(const PolicyParams& params);

    bool ignores_budget() const override { return true; }
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

protected:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores}; }

private:
    NumbersFile ratios_;
};

} // namespace lava
