#pragma once

#include "base/error.h"
#include "replay/division/allocation.h"
#include "replay/policies/wrapper.h"

#include <algorithm>
#include <functional>

namespace lava {

/// A threshold on any policy's scores: entries that score at least as much stay, and the most recent ones. The budget
/// is what comes out. kvpress 0.5.5's DMSPress at the end of the prompt; the trained evictors of Dynamic Memory
/// Sparsification (Lancucki et al. 2025, arXiv:2506.05345) are not part of it.
class Dms : public Wrapper
{
public:
    explicit Dms(const PolicyParams& params)
        : Wrapper(params)
        , window_(params.integer("window"))
        , threshold_(static_cast<float>(params.real("threshold")))
    {
        if (Wrapper::ranks_by_budget()) {
            throw UsageError(
                "dms: base: expected a policy that ranks the same at any budget, found " + params.text("base"));
        }
    }

    std::int64_t window() const override { return window_; }
    bool compares_heads() const override { return true; }
    bool ignores_budget() const override { return true; }

    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override
    {
        const auto evictable = request.evictable();
        Allocation allocation;
        for (const auto& layer : layers) {
            for (std::int64_t head = 0; head < request.shape.num_kv_heads; ++head) {
                const auto begin = layer.sorted.begin() + head * evictable; // descending
                const auto end = std::upper_bound(begin, begin + evictable, threshold_, std::greater<>());
                allocation.granted.push_back(end - begin);
            }
        }
        allocation.retained = allocation.granted;
        return allocation;
    }

    static std::vector<ParameterInfo> parameters()
    {
        auto window = window_parameter(0);
        window.default_value = "128";
        window.help = "recent tokens that stay";
        return {base_parameter(), real_parameter("threshold", "", -1e30, 1e30, "the least score that stays"), window};
    }

private:
    LayerScores wrap(const at::Tensor& scores) const override
    {
        return {scores.narrow(1, 0, scores.size(1) - window_)};
    }

    std::int64_t window_;
    float threshold_;
};

} // namespace lava
