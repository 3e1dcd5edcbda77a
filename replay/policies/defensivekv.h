#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/scores/defensive.h"

#include <algorithm>

namespace lava {

/// DefensiveKV (Feng et al. 2025; FFY0/DefensiveKV): scores that assume the worst case over the window's queries and
/// the group; all heads of a layer in one ranking, without a floor. The released code by default; @paper subtracts the
/// window's mass in the first stage, as meant.
class DefensiveKv : public Policy
{
public:
    explicit DefensiveKv(const PolicyParams& params)
        : rule_{params.integer("window"), params.integer("kernel"), params.real("threshold"),
            params.text("bias") == "window"}
    { }

    std::int64_t reserved() const override { return rule_.window; }
    std::int64_t query_rows() const override { return rule_.window; }
    PolicyNeeds needs() const override { return {.output_projection = true}; }
    bool compares_heads() const override { return true; }
    bool ranks_by_budget() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override { return rule_.score(layer); }

    LayerScores at_budget(const LayerScores& scores, const BudgetRequest& request) const override
    {
        return rule_.at_budget(scores, request);
    }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        Allocation allocation;
        for (std::size_t layer = 0; layer < layers.size(); ++layer) {
            const auto counts
                = model_wide_counts(layers.subspan(layer, 1), request.shape.num_kv_heads, kept(request, 1));
            allocation.granted.insert(allocation.granted.end(), counts.begin(), counts.end());
        }
        allocation.retained = allocation.granted;
        return allocation;
    }

    static std::vector<ParameterInfo> parameters()
    {
        auto window = window_parameter();
        window.help = "recent tokens that scores come from; they rank with the layer's best";
        return {window, kernel_parameter(5),
            real_parameter("threshold", "0.9", 0, 1, "attention mass that the first stage collects"),
            choice_parameter("bias", "prefix", {"prefix", "window"},
                "whose mass the threshold is lowered by: the last columns before the window (released code), or its "
                "own")};
    }

protected:
    /// int(N (1 - r) Hkv L) in the released code's order of operations.
    static std::int64_t kept(const BudgetRequest& request, std::int64_t layers)
    {
        const auto heads = request.shape.num_kv_heads;
        if (!request.ratio) {
            return request.budget * heads * layers;
        }
        const auto each = static_cast<double>(request.seq_len) * (1 - *request.ratio);
        return static_cast<std::int64_t>(each * static_cast<double>(heads) * static_cast<double>(layers));
    }

private:
    DefensiveRule rule_;
};

/// Layer-DefensiveKV: the same scores, all heads of all layers in one ranking. A layer whose scores are small may keep
/// nothing, its window included.
class LayerDefensiveKv : public DefensiveKv
{
public:
    using DefensiveKv::DefensiveKv;

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        return model_wide(layers, request, kept(request, request.shape.num_layers));
    }
};

} // namespace lava
