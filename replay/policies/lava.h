#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

#include <ATen/ATen.h>

namespace lava {

/// LAVa (Shen et al., Findings of EMNLP 2025, pp. 13672-13692): the window's attention times the KV head's largest
/// value norm (Eq. 5), the group's query heads reduced by max; layers share the budget by score entropy, the heads of a
/// layer by where its best scores fall. The paper's text by default; @official is the released code (MGDDestiny/Lava),
/// whose floor is alpha of the whole nominal budget, window included, in every layer, and whose norm leaves the window
/// out. Where a layer is granted more than exists the released code crashes; here it keeps all.
class Lava : public Policy
{
public:
    enum class Layers
    {
        entropy,
        uniform,
        pyramid
    };
    enum class Heads
    {
        layer_wide,
        uniform
    };

    Lava(const PolicyParams& params, Layers layers, Heads heads)
        : window_(params.integer("window"))
        , kernel_(params.integer("kernel"))
        , pool_(parse_pool(params.text("pool")))
        , gqa_(parse_group_reduction(params.text("gqa")))
        , norm_over_prefix_(params.text("value_norm") == "prefix")
        , layers_(layers)
        , heads_(heads)
        , beta_(layers == Layers::pyramid ? params.integer("beta") : 0)
    {
        if (heads == Heads::layer_wide) {
            alpha_ = params.real("alpha");
            nominal_floor_ = params.text("floor") == "nominal";
            normalize_ = params.is_on("normalize");
        }
    }

    std::int64_t window() const override { return window_; }
    std::int64_t query_rows() const override { return window_; }
    bool compares_heads() const override { return heads_ == Heads::layer_wide; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto attention = pool_positions(layer.mean_window_attention(window_), pool_, kernel_);
        const auto norms = layer.value_norms();
        const auto largest = (norm_over_prefix_ ? norms.narrow(1, 0, attention.size(1)) : norms).amax(1, true);
        const auto weighted = attention * largest.repeat_interleave(layer.shape().group_size(), 0);
        const auto entries = reduce_group(weighted, layer.shape(), gqa_);
        return {entries, layers_ == Layers::entropy ? score_entropy(entries) : 1.0};
    }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        const auto numbers = layer_numbers(layers, request);
        if (heads_ == Heads::uniform) {
            return uniform_heads(numbers, request);
        }
        const auto floor = [&](std::int64_t number) {
            const auto base = nominal_floor_ ? request.budget : number;
            return static_cast<std::int64_t>(alpha_ * static_cast<double>(base));
        };
        return adaptive_heads(layers, numbers, request, {alpha_, normalize_, floor});
    }

    static std::vector<ParameterInfo> parameters(Layers layers, Heads heads)
    {
        std::vector<ParameterInfo> all{window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("max"),
            choice_parameter("value_norm", "all", {"all", "prefix"}, "tokens whose largest ||v||_1 weighs a head")};
        if (heads == Heads::layer_wide) {
            all.push_back(alpha_parameter("0"));
            all.push_back(choice_parameter("floor", "layer", {"layer", "nominal"},
                "what alpha is a share of: the layer's own number, or the nominal budget (released code)"));
            all.push_back(normalize_parameter());
        }
        if (layers == Layers::pyramid) {
            all.push_back(beta_parameter());
        }
        return all;
    }

private:
    std::vector<std::int64_t> layer_numbers(std::span<const RankedLayer> layers, const BudgetRequest& request) const
    {
        switch (layers_) {
        case Layers::uniform:
            return uniform_layers(request.shape.num_layers, request.spare());
        case Layers::pyramid:
            return pyramid_layers(request, beta_);
        case Layers::entropy:
            break;
        }
        // A layer's share never grows as layers arrive, so the released code's cascade ends in this one division.
        return weighted_layers(layers, request);
    }

    std::int64_t window_;
    std::int64_t kernel_;
    Pool pool_;
    GroupReduction gqa_;
    bool norm_over_prefix_;
    Layers layers_;
    Heads heads_;
    std::int64_t beta_;
    double alpha_ = 0;
    bool nominal_floor_ = false;
    bool normalize_ = false;
};

/// LAVa and its ablations: which of the two allocations stays dynamic.
template <Lava::Layers layers, Lava::Heads heads> class LavaOf : public Lava
{
public:
    explicit LavaOf(const PolicyParams& params)
        : Lava(params, layers, heads)
    { }

    static std::vector<ParameterInfo> parameters() { return Lava::parameters(layers, heads); }
};

} // namespace lava
