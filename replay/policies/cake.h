#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lava {

/// CAKE (Qin et al. 2025, arXiv:2503.12491), the prefill part of cakekv: entries by mean plus gamma times variance of
/// the window's attention; layers share by attention entropy times temporal variance, cut again as layers arrive.
class Cake : public Policy
{
public:
    explicit Cake(const PolicyParams& params)
        : window_(params.integer("window"))
        , kernel_(params.integer("kernel"))
        , pool_(parse_pool(params.text("pool")))
        , gqa_(parse_group_reduction(params.text("gqa")))
        , gamma_(params.real("gamma"))
        , tau1_(params.real("tau1"))
        , tau2_(params.real("tau2"))
        , cascading_(params.is_on("cascading"))
    { }

    std::int64_t window() const override { return window_; }
    std::int64_t query_rows() const override { return window_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        // [num_heads, window, evictable]
        const auto attention = layer.window_attention(window_).narrow(2, 0, layer.seq_len() - window_);
        const auto variance = at::var(attention, at::IntArrayRef{1}, /*unbiased=*/true);
        const auto entries = pool_positions(attention.mean(1) + gamma_ * variance, pool_, kernel_);
        return {reduce_group(entries, layer.shape(), gqa_), preference(attention, variance)};
    }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        std::vector<double> preferences;
        for (const auto& layer : layers) {
            preferences.push_back(layer.weight);
        }
        const auto numbers = cake_layers(preferences, request, cascading_);
        auto allocation = uniform_heads(numbers.granted, request);
        allocation.retained = uniform_heads(numbers.kept, request).retained;
        return allocation;
    }

    static std::vector<ParameterInfo> parameters()
    {
        auto pool = pool_parameter();
        pool.default_value = "avg";
        return {window_parameter(2), kernel_parameter(5), pool, gqa_parameter("mean"),
            real_parameter("gamma", "200", 0, 1e9, "weight of the variance in an entry's score"),
            real_parameter("tau1", "1", 1e-3, 1e3, "temperature of the entropy in a layer's preference"),
            real_parameter("tau2", "1", 1e-3, 1e3, "temperature of the variance in a layer's preference"),
            choice_parameter("cascading", "on", {"on", "off"}, "cut earlier layers again whenever a layer arrives")};
    }

private:
    // entropy^(1/tau1) * variance^(1/tau2), both summed over heads and positions, the entropy over queries too
    double preference(const at::Tensor& attention, const at::Tensor& variance) const
    {
        double entropy = 0;
        for (std::int64_t head = 0; head < attention.size(0); ++head) {
            const auto a = attention[head].to(at::kDouble);
            entropy -= (a * (a + 1e-10).log()).sum().item<double>();
        }
        const auto variation = variance.sum(at::kDouble).item<double>();
        return std::pow(entropy, 1 / tau1_) * std::pow(variation, 1 / tau2_);
    }

    std::int64_t window_;
    std::int64_t kernel_;
    Pool pool_;
    GroupReduction gqa_;
    double gamma_;
    double tau1_;
    double tau2_;
    bool cascading_;
};

} // namespace lava
