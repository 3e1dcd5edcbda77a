#include "replay/scores/key_scores.h"

#include "replay/scores/unit_rows.h"

#include <ATen/ATen.h>

namespace lava {

namespace {

// std over channels of the tokens of every partition but the last, in the units of the one behind, softmax over the
// partition. x: [heads, partitions, lag, head_dim]
at::Tensor spread_by_next_partition(const at::Tensor& x)
{
    const auto partitions = x.size(1);
    const auto reference = x.narrow(1, 1, partitions - 1);
    const auto least = reference.amin(2, true);
    const auto scaled = (x.narrow(1, 0, partitions - 1) - least) / (reference.amax(2, true) - least);
    const auto spread = at::std(scaled, at::IntArrayRef{-1}, /*unbiased=*/true);
    return at::softmax(spread, -1).nan_to_num(0); // [heads, partitions - 1, lag]; NaN where a channel has no range
}

// Each score's place in its partition over the partition's size: 0 for the least. scores: [..., lag]
at::Tensor places(const at::Tensor& scores)
{
    const auto lag = scores.size(-1);
    // of equal scores the older gets the higher place, as everywhere
    const auto order = at::argsort(scores.contiguous(), /*stable=*/true, -1, /*descending=*/true);
    const auto descending = at::arange(lag - 1, -1, -1, at::kLong).expand_as(order);
    return at::empty_like(order).scatter_(-1, order, descending).to(at::kFloat) / lag;
}

at::Tensor recency(std::int64_t heads, std::int64_t tokens, std::int64_t sinks)
{
    auto scores = at::ones({heads, tokens});
    if (tokens > sinks) {
        const auto behind = tokens - sinks;
        scores.narrow(1, sinks, behind).copy_(at::arange(behind, at::kFloat) / behind);
    }
    return scores;
}

} // namespace

at::Tensor key_norm_scores(const at::Tensor& k)
{
    return -k.norm(2, -1);
}

at::Tensor key_difference_scores(const at::Tensor& k)
{
    constexpr double least_norm = 1e-12;
    const auto unit = unit_rows(k, least_norm);
    const auto anchor = unit.mean(1, true);
    return -at::matmul(unit, unit_rows(anchor, least_norm).transpose(1, 2)).squeeze(-1);
}

at::Tensor lag_scores(const at::Tensor& k, const at::Tensor& v, const LagRule& rule)
{
    const auto heads = k.size(0);
    const auto tokens = k.size(1);
    if (tokens < rule.sinks + 2 * rule.lag) {
        return recency(heads, tokens, rule.sinks);
    }
    const auto partitions = (tokens - rule.sinks) / rule.lag;
    const auto partitioned = [&](const at::Tensor& x) {
        return x.narrow(1, rule.sinks, partitions * rule.lag).reshape({heads, partitions, rule.lag, x.size(2)});
    };
    auto scores = (spread_by_next_partition(partitioned(k)) + spread_by_next_partition(partitioned(v))) / 2;
    if (!rule.across) {
        scores = places(scores);
    }
    auto all = at::ones({heads, tokens});
    all.narrow(1, rule.sinks, (partitions - 1) * rule.lag).copy_(scores.reshape({heads, -1}));
    return all;
}

} // namespace lava
