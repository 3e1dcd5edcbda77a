#pragma once

#include "base/counter_random.h"
#include "replay/division/allocation.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace lava {

/// Evicts at random: what any policy must beat. Counter-based, so that a head's choice depends on (seed, layer, head,
/// position) alone.
class Random : public Policy
{
public:
    explicit Random(const PolicyParams& params)
        : window_(params.integer("window"))
        , seed_(static_cast<std::uint64_t>(params.integer("seed")))
        , torch_(params.text("generator") == "torch")
    { }

    std::int64_t window() const override { return window_; }

    LayerScores score(const LayerInputs& layer) const override
    {
        const auto heads = layer.shape().num_kv_heads;
        const auto evictable = layer.seq_len() - window_;
        if (torch_) { // one seed, so every layer draws the same
            return {at::rand({1, heads, evictable}, at::detail::createCPUGenerator(seed_)).squeeze(0)};
        }
        auto entries = at::empty({heads, evictable});
        auto* values = entries.data_ptr<float>();
        for (std::int64_t head = 0; head < heads; ++head) {
            const auto stream = random_stream(seed_, layer.layer() * heads + head);
            for (std::int64_t i = 0; i < evictable; ++i) {
                values[head * evictable + i] = uniform_number(stream, i);
            }
        }
        return {entries};
    }

    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.spare()), request);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {window_parameter(0), integer_parameter("seed", 0, 0, INT64_MAX, "seed of the generator"),
            choice_parameter("generator", "counter", {"counter", "torch"},
                "by position, layer and head; or torch's, anew for every layer (kvpress with a seed)")};
    }

private:
    std::int64_t window_;
    std::uint64_t seed_;
    bool torch_;
};

} // namespace lava
