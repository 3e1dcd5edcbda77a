#include "replay/policies/compactor.h"

#include "replay/scores/scoring.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

Sketch read_sketch(const PolicyParams& params)
{
    return {params.integer("sketch"), static_cast<std::uint64_t>(params.integer("seed"))};
}

std::vector<ParameterInfo> sketch_parameters()
{
    return {integer_parameter("sketch", 48, 0, 100000, "numbers that keys are sketched to; 0: the keys themselves"),
        integer_parameter("seed", 0, 0, INT64_MAX, "seed of the sketch (torch's generator)")};
}

ParameterInfo chunk_parameter()
{
    return integer_parameter("chunk", 256, 1, 1000000000, "tokens that attend to each other");
}

// Standardised leverage scores of the `count` tokens from `begin` on.
at::Tensor standard_leverage(const LayerInputs& layer, Sketch sketch, std::int64_t begin, std::int64_t count)
{
    sketch.layer = layer.layer();
    return standardised(
        leverage_scores(before_rotation(layer.rope(), layer.k().narrow(1, begin, count), begin), sketch));
}

at::Tensor standard_attention(const LayerInputs& layer, std::int64_t chunk, std::int64_t begin, std::int64_t count)
{
    const auto q = layer.queries(layer.seq_len()).narrow(1, begin, count);
    const auto k = layer.k().narrow(1, begin, count).repeat_interleave(layer.shape().group_size(), 0);
    const auto paid = reduce_group(chunk_attention_sums(q, k, chunk), layer.shape(), GroupReduction::mean);
    return standardised(pool_positions(paid * layer.v().narrow(1, begin, count).norm(2, -1), Pool::avg, 3));
}

} // namespace

LeverageScore::LeverageScore(const PolicyParams& params)
    : sketch_(read_sketch(params))
{ }

LayerScores LeverageScore::score(const LayerInputs& layer) const
{
    return {standard_leverage(layer, sketch_, 0, layer.seq_len())};
}

std::vector<ParameterInfo> LeverageScore::parameters()
{
    return sketch_parameters();
}

NonCausal::NonCausal(const PolicyParams& params)
    : chunk_(params.integer("chunk"))
{ }

LayerScores NonCausal::score(const LayerInputs& layer) const
{
    return {standard_attention(layer, chunk_, 0, layer.seq_len())};
}

std::vector<ParameterInfo> NonCausal::parameters()
{
    return {chunk_parameter()};
}

Compactor::Compactor(const PolicyParams& params)
    : sketch_(read_sketch(params))
    , chunk_(params.integer("chunk"))
    , first_(params.integer("first"))
    , last_(params.integer("last"))
{ }

LayerScores Compactor::score(const LayerInputs& layer) const
{
    const auto n = layer.seq_len();
    const auto first = std::min(first_, n);
    const auto between = n - first - std::min(last_, n - first);
    LayerScores scores{at::zeros({layer.shape().num_kv_heads, n})};
    if (between > 1) {
        scores.parts
            = {standard_leverage(layer, sketch_, first, between), standard_attention(layer, chunk_, first, between)};
    }
    return scores;
}

LayerScores Compactor::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    if (scores.parts.empty()) {
        return scores;
    }
    const auto between = request.evicted_share() * scores.parts[0] + scores.parts[1];
    const auto first = std::min(first_, request.seq_len);
    const auto top = between.max().item<double>(); // protected tokens tie with the best
    return {at::constant_pad_nd(between, {first, request.seq_len - first - between.size(1)}, top)};
}

std::vector<ParameterInfo> Compactor::parameters()
{
    auto parameters = sketch_parameters();
    parameters.push_back(chunk_parameter());
    parameters.push_back(integer_parameter("first", 8, 0, 1000000000, "first tokens that stay"));
    parameters.push_back(integer_parameter("last", 4, 0, 1000000000, "last tokens that stay"));
    return parameters;
}

} // namespace lava
