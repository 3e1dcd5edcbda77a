#pragma once

#include "replay/policies/window_attention.h"

namespace lava {

/// AdaKV (Feng et al. 2024, arXiv:2407.11550): SnapKV's scores; the heads of a layer share its budget by where the
/// layer's best scores fall, each with a floor of alpha. Layers alike (ada-snapkv) or as PyramidKV (ada-pyramidkv).
class AdaKv : public Policy
{
public:
    enum class Layers
    {
        uniform,
        pyramid
    };

    AdaKv(const PolicyParams& params, Layers layers)
        : score_(params)
        , layers_(layers)
        , alpha_(params.real("alpha"))
        , normalize_(params.is_on("normalize"))
        , beta_(layers == Layers::pyramid ? params.integer("beta") : 0)
    { }

    std::int64_t window() const override { return score_.window; }
    std::int64_t query_rows() const override { return score_.window; }
    bool compares_heads() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override { return {score_.entries(layer)}; }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        const auto numbers = layers_ == Layers::pyramid ? pyramid_layers(request, beta_)
                                                        : uniform_layers(request.shape.num_layers, request.spare());
        const auto floor
            = [this](std::int64_t number) { return static_cast<std::int64_t>(alpha_ * static_cast<double>(number)); };
        return adaptive_heads(layers, numbers, request, {alpha_, normalize_, floor});
    }

private:
    SnapScore score_;
    Layers layers_;
    double alpha_;
    bool normalize_;
    std::int64_t beta_;
};

class AdaSnapKv : public AdaKv
{
public:
    explicit AdaSnapKv(const PolicyParams& params)
        : AdaKv(params, Layers::uniform)
    { }

    static std::vector<ParameterInfo> parameters()
    {
        auto parameters = SnapScore::parameters();
        parameters.push_back(alpha_parameter("0.2"));
        parameters.push_back(normalize_parameter());
        return parameters;
    }
};

class AdaPyramidKv : public AdaKv
{
public:
    explicit AdaPyramidKv(const PolicyParams& params)
        : AdaKv(params, Layers::pyramid)
    { }

    static std::vector<ParameterInfo> parameters()
    {
        auto parameters = AdaSnapKv::parameters();
        parameters.push_back(beta_parameter());
        return parameters;
    }
};

} // namespace lava
