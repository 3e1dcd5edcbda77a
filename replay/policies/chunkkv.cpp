#include "replay/policies/chunkkv.h"

#include "base/error.h"
#include "replay/division/allocation.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/scores/scoring.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace lava {

namespace {

// The chunk's mean in place of every token's sum over heads. sums: [tokens]
at::Tensor chunk_means(const at::Tensor& sums, std::int64_t chunk)
{
    const auto tokens = sums.size(0);
    const auto whole = tokens / chunk * chunk;
    auto means = at::empty_like(sums);
    means.narrow(0, 0, whole).view({-1, chunk}).copy_(sums.narrow(0, 0, whole).view({-1, chunk}).mean(1, true));
    if (whole < tokens) {
        means.narrow(0, whole, tokens - whole).fill_(sums.narrow(0, whole, tokens - whole).mean());
    }
    return means;
}

LayerView part_of(const LayerInputs& layer, std::int64_t begin, std::int64_t count)
{
    LayerView part;
    part.layer = layer.layer();
    part.shape = layer.shape();
    part.seq_len = count;
    part.k = layer.k().narrow(1, begin, count);
    part.v = layer.v().narrow(1, begin, count);
    return part;
}

} // namespace

ChunkKv::ChunkKv(const PolicyParams& params)
    : Wrapper(params)
    , chunk_(params.integer("chunk"))
{ }

LayerScores ChunkKv::wrap(const at::Tensor& scores) const
{
    const auto tokens = scores.size(1);
    if (tokens < chunk_) {
        return {scores};
    }
    const auto means = chunk_means(scores.sum(0), chunk_);
    const auto whole = means.narrow(0, 0, tokens / chunk_ * chunk_);
    LayerScores result{means.expand(scores.sizes())};
    const auto before = (whole >= means[tokens - 1]).sum().item<std::int64_t>(); // tokens that rank before the last's
    result.head_counts.assign(static_cast<std::size_t>(scores.size(0)), before);
    return result;
}

Allocation ChunkKv::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    if (request.seq_len < chunk_) {
        return uniform_heads(uniform_layers(request.shape.num_layers, request.budget), request);
    }
    const auto shorter = request.seq_len % chunk_;
    const auto kept = std::max<std::int64_t>(1, request.share((request.seq_len + chunk_ - 1) / chunk_));
    std::vector<std::int64_t> numbers;
    for (const auto& layer : layers) {
        const bool has_shorter = shorter > 0 && layer.head_counts.front() < kept * chunk_;
        numbers.push_back(kept * chunk_ - (has_shorter ? chunk_ - shorter : 0));
    }
    return uniform_heads(numbers, request);
}

std::vector<ParameterInfo> ChunkKv::parameters()
{
    return {base_parameter(), integer_parameter("chunk", 20, 1, 1000000000, "tokens of a chunk")};
}

ChunkWise::ChunkWise(const PolicyParams& params)
    : Wrapper(params)
    , length_(params.integer("length"))
{
    const auto needs = base().needs();
    if (base().query_rows() > 0 || base().ranks_by_budget() || needs.observed_attention || needs.query_statistics
        || needs.rope || needs.repeat_maxima || needs.all_queries) {
        throw UsageError("policy chunk: base: expected a policy that reads keys and values alone, found "
            + params.text("base") + ": a trace does not have the queries of every chunk");
    }
}

LayerScores ChunkWise::score(const LayerInputs& layer) const
{
    std::vector<at::Tensor> chunks;
    for (std::int64_t begin = 0; begin < layer.seq_len(); begin += length_) {
        const auto count = std::min(length_, layer.seq_len() - begin);
        const auto part = part_of(layer, begin, count);
        chunks.push_back(whole_scores(base().score(LayerInputs(part, 0)).entries, count));
    }
    return {at::cat(chunks, 1)};
}

LayerScores ChunkWise::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    LayerScores kept{at::zeros_like(scores.entries)};
    std::int64_t total = 0;
    for (std::int64_t begin = 0; begin < request.seq_len; begin += length_) {
        const auto count = std::min(length_, request.seq_len - begin);
        const auto share = std::max<std::int64_t>(1, request.share(count));
        const auto order = at::argsort(scores.entries.narrow(1, begin, count), /*stable=*/true, 1, /*descending=*/true);
        kept.entries.narrow(1, begin, count).scatter_(1, order.narrow(1, 0, share), 1.0);
        total += share;
    }
    kept.head_counts.assign(static_cast<std::size_t>(scores.entries.size(0)), total);
    return kept;
}

Allocation ChunkWise::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    return settled_heads(layers, request);
}

std::vector<ParameterInfo> ChunkWise::parameters()
{
    return {base_parameter("keydiff"), integer_parameter("length", 1024, 1, 1000000000, "tokens of a chunk")};
}

} // namespace lava
