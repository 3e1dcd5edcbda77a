#include "replay/policies/duo_attention.h"

#include "replay/scores/recency.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

DuoAttention::DuoAttention(const PolicyParams& params)
    : sinks_(params.integer("sinks"))
    , recent_(params.integer("recent"))
    , head_scores_(params.text("file"))
{ }

LayerScores DuoAttention::score(const LayerInputs& layer) const
{
    return {sinks_and_recency(layer.shape().num_kv_heads, layer.seq_len(), sinks_)};
}

std::int64_t DuoAttention::streaming_heads(const BudgetRequest& request) const
{
    const auto heads = static_cast<double>(request.heads());
    if (request.ratio) {
        return std::llrint(heads * *request.ratio);
    }
    const auto evicted = static_cast<double>(request.seq_len - (sinks_ + recent_)); // what a streaming head evicts
    const auto wanted = heads * static_cast<double>(request.seq_len - request.budget) / std::max(evicted, 1.0);
    return std::clamp<std::int64_t>(std::llrint(wanted), 0, request.heads());
}

Allocation DuoAttention::allocate(std::span<const RankedLayer>, const BudgetRequest& request) const
{
    const auto scores = head_scores_.of_shape({request.shape.num_layers, request.shape.num_kv_heads}).clamp(0, 1);
    const auto order = at::argsort(scores.flatten(), /*stable=*/true, 0, /*descending=*/false); // the lowest first
    Allocation allocation;
    allocation.granted.assign(static_cast<std::size_t>(request.heads()), request.seq_len);
    for (std::int64_t place = 0; place < streaming_heads(request); ++place) {
        allocation.granted[static_cast<std::size_t>(order[place].item<std::int64_t>())]
            = std::min(request.seq_len, sinks_ + recent_);
    }
    allocation.retained = allocation.granted;
    return allocation;
}

std::vector<ParameterInfo> DuoAttention::parameters()
{
    return {integer_parameter("sinks", 128, 0, 1000000000, "first tokens that streaming heads keep"),
        integer_parameter("recent", 256, 1, 1000000000, "recent tokens that they keep"),
        file_parameter("file", "scores of heads, [num_layers, num_kv_heads]: the lowest become streaming heads")};
}

} // namespace lava
