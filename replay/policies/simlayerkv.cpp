#include "replay/policies/simlayerkv.h"

#include "base/error.h"
#include "base/formatted.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/scores/recency.h"

#include <ATen/ATen.h>

namespace lava {

SimLayerKv::SimLayerKv(const PolicyParams& params)
    : threshold_(params.real("threshold"))
    , last_(params.integer("last"))
    , recent_(params.integer("recent"))
    , sinks_(params.integer("sinks"))
{
    if (recent_ <= last_) {
        throw UsageError(formatted("policy simlayerkv: recent: expected more than last, found {}", recent_));
    }
}

bool SimLayerKv::is_lazy(const LayerInputs& layer) const
{
    if (threshold_ == 1 || layer.seq_len() <= sinks_ + recent_ + last_) {
        return false;
    }
    const auto paid = layer.mean_window_attention(last_).mean(0); // [seq_len - last]
    const auto share = paid.narrow(0, 0, sinks_).sum() + paid.narrow(0, paid.size(0) - recent_, recent_).sum();
    return share.item<double>() > threshold_;
}

LayerScores SimLayerKv::score(const LayerInputs& layer) const
{
    const auto heads = layer.shape().num_kv_heads;
    LayerScores scores{sinks_and_recency(heads, layer.seq_len(), sinks_)};
    const auto kept = is_lazy(layer) ? sinks_ + recent_ - last_ : layer.seq_len();
    scores.head_counts.assign(static_cast<std::size_t>(heads), kept);
    return scores;
}

Allocation SimLayerKv::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    return settled_heads(layers, request);
}

std::vector<ParameterInfo> SimLayerKv::parameters()
{
    return {real_parameter("threshold", "0.9", 0, 1,
                "attention to first and recent tokens above which a layer is lazy (Llama 3: 0.9, Mistral: 0.8)"),
        integer_parameter("last", 1, 1, 1000000, "last queries that are asked"),
        integer_parameter("recent", 1024, 1, 1000000000, "recent tokens that count"),
        integer_parameter("sinks", 4, 0, 1000000000, "first tokens that count, and stay")};
}

} // namespace lava
