#pragma once

#include "replay/division/allocation.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/policies/wrapper.h"
#include "replay/scores/shared_heads.h"

namespace lava {

/// AdaKVPress of kvpress 0.5.5 over any scores: a layer keeps its best entries in whatever head, exactly as many as
/// asked, at least int(alpha * budget) of them in each. AdaKV's own rule (Feng et al. 2024) is ada-snapkv's. With
/// heads=shared all heads of a layer keep the same entries instead.
class Ada : public Wrapper
{
public:
    explicit Ada(const PolicyParams& params)
        : Wrapper(params)
        , alpha_(params.real("alpha"))
        , is_shared_(params.text("heads") == "shared")
        , shared_(parse_shared_heads(params.text("shared")))
    { }

    bool compares_heads() const override { return !is_shared_; }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        return is_shared_ ? uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request)
                          : safeguarded_heads(layers, request, alpha_);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {base_parameter(), alpha_parameter("0.2"),
            choice_parameter("heads", "layer", {"layer", "shared"}, "by the layer's best scores, or one set for all"),
            shared_parameter()};
    }

protected:
    LayerScores wrap(const at::Tensor& scores) const override
    {
        return {is_shared_ ? shared_scores(scores, shared_) : scores};
    }

private:
    double alpha_;
    bool is_shared_;
    SharedHeads shared_;
};

} // namespace lava
