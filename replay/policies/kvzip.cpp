#include "replay/policies/kvzip.h"

#include "replay/division/allocation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace lava {

namespace {

// Entries that stay of `count`: all but int(count * r)
std::int64_t kept_of(std::int64_t count, const BudgetRequest& request)
{
    if (request.ratio) {
        return count - static_cast<std::int64_t>(static_cast<double>(count) * *request.ratio);
    }
    return count / request.seq_len * request.budget;
}

} // namespace

KvZip::KvZip(const PolicyParams& params)
    : sinks_(params.integer("sinks"))
    , layerwise_(params.is_on("layerwise"))
    , plus_(params.is_on("plus"))
{
    if (params.text("scores") != "trace") {
        scores_.emplace(params.text("scores"));
    }
}

PolicyNeeds KvZip::needs() const
{
    return {.repeat_maxima = !scores_ && !plus_, .repeat_maxima_plus = !scores_ && plus_};
}

LayerScores KvZip::score(const LayerInputs& layer) const
{
    const auto& shape = layer.shape();
    auto scores = layer.repeat_maxima(plus_);
    if (scores_) {
        scores = scores_->of_shape({shape.num_layers, shape.num_kv_heads, layer.seq_len()})[layer.layer()];
    }
    scores = scores.to(at::kFloat).clone();
    scores.narrow(1, 0, std::min(sinks_, layer.seq_len())).fill_(std::numeric_limits<float>::max());
    return {scores};
}

Allocation KvZip::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    const auto heads = request.shape.num_kv_heads;
    if (!layerwise_) {
        return model_wide(layers, request, kept_of(request.heads() * request.seq_len, request));
    }
    Allocation allocation;
    for (const auto& layer : layers) {
        const auto counts = model_wide_counts({&layer, 1}, heads, kept_of(heads * request.seq_len, request));
        allocation.granted.insert(allocation.granted.end(), counts.begin(), counts.end());
    }
    allocation.retained = allocation.granted;
    return allocation;
}

std::vector<ParameterInfo> KvZip::parameters()
{
    return {integer_parameter("sinks", 4, 0, 1000000000, "first tokens that stay"),
        choice_parameter("layerwise", "off", {"on", "off"}, "divide each layer by itself"),
        choice_parameter("plus", "off", {"on", "off"}, "KVzip+: weighed by the values and the attention's input"),
        text_parameter("scores", "trace", "those of the trace's repeat pass, or a .npy or .json file of scores")};
}

} // namespace lava
