#pragma once

#include "replay/division/allocation_kvpress.h"
#include "replay/policies/wrapper.h"

namespace lava {

/// AdaKVPress of kvpress 0.5.5 over any scores: a layer keeps its best entries in whatever head, exactly as many as
/// asked, at least int(alpha * budget) of them in each. AdaKV's own rule (Feng et al. 2024) is ada-snapkv's.
class Ada : public Wrapper
{
public:
    explicit Ada(const PolicyParams& params)
        : Wrapper(params)
        , alpha_(params.real("alpha"))
    { }

    bool compares_heads() const override { return true; }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        return safeguarded_heads(layers, request, alpha_);
    }

    static std::vector<ParameterInfo> parameters() { return {base_parameter(), alpha_parameter("0.2")}; }

protected:
    LayerScores wrap(const at::Tensor& scores) const override { return {scores}; }

private:
    double alpha_;
};

} // namespace lava
