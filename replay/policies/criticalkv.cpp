#include "replay/policies/criticalkv.h"

#include "compute/cpu/descending_order.h"
#include "replay/division/allocation.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/retention.h"
#include "replay/scores/projected_norms.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lava {

namespace {

// int((1 - r) N share), at least 1 where there is a first stage
std::int64_t first_stage_count(const BudgetRequest& request, double share)
{
    const auto kept = request.ratio ? (1 - *request.ratio) * static_cast<double>(request.seq_len)
                                    : static_cast<double>(request.budget);
    const auto count = std::min(static_cast<std::int64_t>(kept * share), request.seq_len);
    return share > 0 ? std::max<std::int64_t>(1, count) : count;
}

} // namespace

CriticalKv::CriticalKv(const PolicyParams& params)
    : Wrapper(params)
    , epsilon_(params.real("epsilon"))
    , first_stage_(params.real("first_stage"))
{ }

PolicyNeeds CriticalKv::needs() const
{
    auto needs = base().needs();
    needs.output_projection = true;
    return needs;
}

LayerScores CriticalKv::score(const LayerInputs& layer) const
{
    auto scores = base().score(layer);
    scores.parts.push_back(projected_value_norms(layer));
    return scores;
}

CriticalKv::Stages CriticalKv::stages(const LayerScores& scores, const BudgetRequest& request) const
{
    auto of_base = scores;
    of_base.parts.pop_back();
    return {base_entries(of_base, request), scores.parts.back()};
}

at::Tensor CriticalKv::second_stage(const Stages& stages, std::span<const std::int64_t> first) const
{
    const auto tokens = stages.entries.size(1);
    auto scores = ((stages.entries + epsilon_) * stages.norms).contiguous();
    const auto base = stages.entries.contiguous();
    std::vector<std::uint32_t> order(static_cast<std::size_t>(tokens));
    for (std::int64_t head = 0; head < scores.size(0); ++head) {
        auto* values = scores.mutable_data_ptr<float>() + head * tokens;
        descending_order(base.const_data_ptr<float>() + head * tokens, tokens, order.data());
        for (std::int64_t place = 0; place < first[static_cast<std::size_t>(head)]; ++place) {
            values[order[static_cast<std::size_t>(place)]] = std::numeric_limits<float>::max();
        }
    }
    return scores;
}

LayerScores CriticalKv::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    const auto parts = stages(scores, request);
    const std::vector<std::int64_t> first(
        static_cast<std::size_t>(parts.entries.size(0)), first_stage_count(request, first_stage_));
    return {second_stage(parts, first)};
}

Allocation CriticalKv::allocate(std::span<const RankedLayer>, const BudgetRequest& request) const
{
    return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
}

std::vector<ParameterInfo> CriticalKv::parameters()
{
    return {base_parameter(), real_parameter("epsilon", "0.0001", 0, 1e9, "added to a score before the norm"),
        real_parameter("first_stage", "0.5", 0, 1, "share of the budget that goes by the base's scores")};
}

CriticalAda::CriticalAda(const PolicyParams& params)
    : CriticalKv(params)
    , alpha_(params.real("alpha"))
{ }

LayerScores CriticalAda::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    const auto parts = stages(scores, request);
    auto base_ranking = rank_layer({parts.entries}, request.seq_len, 0);
    merge_heads(base_ranking);
    const auto safe = safeguard(request.budget, alpha_);
    const auto counts = safeguarded_counts(base_ranking, request.shape.num_kv_heads, request.budget, safe);
    std::vector<std::int64_t> first;
    for (const auto count : counts) {
        first.push_back(
            std::max(safe, static_cast<std::int64_t>(static_cast<float>(count) * static_cast<float>(first_stage()))));
    }
    LayerScores result{second_stage(parts, first)};
    result.head_counts = counts;
    return result;
}

Allocation CriticalAda::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    return settled_heads(layers, request);
}

std::vector<ParameterInfo> CriticalAda::parameters()
{
    auto parameters = CriticalKv::parameters();
    parameters.push_back(alpha_parameter("0.2"));
    return parameters;
}

} // namespace lava
