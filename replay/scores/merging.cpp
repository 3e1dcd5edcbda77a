#include "replay/scores/merging.h"

#include "replay/scores/unit_rows.h"

#include "base/counter_random.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lava {

namespace {

constexpr double merging_epsilon = 1e-6; // kvpress's

at::Tensor index_tensor(std::span<const std::uint32_t> positions)
{
    auto index = at::empty({static_cast<std::int64_t>(positions.size())}, at::kLong);
    std::copy(positions.begin(), positions.end(), index.data_ptr<std::int64_t>());
    return index;
}

struct Nearest
{
    at::Tensor similarity; // [evicted]
    at::Tensor target; // [evicted] into the kept ones
};

Nearest nearest_kept(const at::Tensor& evicted_keys, const at::Tensor& kept_keys)
{
    constexpr std::int64_t block = 256; // evicted entries whose similarities are held at a time
    const auto kept = unit_rows(kept_keys, merging_epsilon).t().contiguous();
    const auto evicted = unit_rows(evicted_keys, merging_epsilon);
    std::vector<at::Tensor> similarities;
    std::vector<at::Tensor> targets;
    for (std::int64_t begin = 0; begin < evicted.size(0); begin += block) {
        const auto count = std::min(block, evicted.size(0) - begin);
        const auto [similarity, target] = at::mm(evicted.narrow(0, begin, count), kept).max(1);
        similarities.push_back(similarity);
        targets.push_back(target);
    }
    return {at::cat(similarities), at::cat(targets)};
}

// Which evicted entries are merged: [evicted] bool
at::Tensor similar_enough(const at::Tensor& similarity, const MergingRule& rule)
{
    auto chosen = similarity >= rule.similarity;
    if (rule.fraction < 1 && chosen.any().item<bool>()) {
        constexpr auto below_all = -std::numeric_limits<double>::infinity();
        const auto ranked = similarity.masked_fill(chosen.logical_not(), below_all);
        chosen = chosen & (similarity >= at::quantile(ranked, 1 - rule.fraction));
    }
    return chosen;
}

// v [seq_len, head_dim] of one head
void merge_head(
    const at::Tensor& k, const at::Tensor& v, const KeptEntries& kept, std::int64_t head, const MergingRule& rule)
{
    const auto kept_index = index_tensor(kept.of(head));
    const auto evicted_index = index_tensor(kept.evicted(head));
    if (kept_index.numel() == 0 || evicted_index.numel() == 0) {
        return;
    }
    const auto kept_values = v.index_select(0, kept_index);
    const auto evicted_values = v.index_select(0, evicted_index);
    const auto nearest = nearest_kept(k.index_select(0, evicted_index), k.index_select(0, kept_index));
    const auto kept_norms = kept_values.norm(2, -1).index_select(0, nearest.target);
    const auto evicted_norms = evicted_values.norm(2, -1);
    const auto weights = nearest.similarity.clamp_min(0) * similar_enough(nearest.similarity, rule).to(at::kFloat)
        * evicted_norms / (evicted_norms + kept_norms + merging_epsilon);
    const auto weight_sums = at::zeros({kept_index.numel()}).index_add_(0, nearest.target, weights).unsqueeze(1);
    const auto value_sums
        = at::zeros_like(kept_values).index_add_(0, nearest.target, weights.unsqueeze(1) * evicted_values);
    const auto merged = (kept_values + value_sums) / (1 + weight_sums);
    v.index_copy_(0, kept_index, at::where(weight_sums > 0, merged, kept_values));
}

// The share of an evicted value that goes on: 0 or 1 where it is drawn.
float merged_share(float attention, float mean_attention, const CamRule& rule, std::uint64_t stream, std::int64_t entry)
{
    const auto ratio = attention / mean_attention;
    const auto probability = std::isnan(ratio) ? 0.0F : std::clamp(ratio, 0.0F, 1.0F);
    if (!rule.sample) {
        return probability;
    }
    return uniform_number(stream, entry) < probability ? 1.0F : 0.0F;
}

float mean_of(const float* weight, std::span<const std::uint32_t> entries)
{
    float sum = 0;
    for (const auto entry : entries) {
        sum += weight[entry];
    }
    return sum / static_cast<float>(std::max<std::size_t>(entries.size(), 1));
}

// Adds value * share / targets to each of the targets' values.
void spread(
    const float* value, float share, std::span<const std::uint32_t> targets, std::int64_t head_dim, float* values)
{
    if (share == 0) {
        return;
    }
    const auto scale = share / static_cast<float>(targets.size());
    for (const auto target : targets) {
        for (std::int64_t i = 0; i < head_dim; ++i) {
            values[target * head_dim + i] += value[i] * scale;
        }
    }
}

} // namespace

at::Tensor merged_values(const at::Tensor& k, const at::Tensor& v, const KeptEntries& kept, const MergingRule& rule)
{
    auto values = v.clone();
    for (std::int64_t head = 0; head < v.size(0); ++head) {
        merge_head(k[head], values[head], kept, head, rule);
    }
    return values;
}

at::Tensor cam_values(
    const at::Tensor& v, const at::Tensor& attention, const KeptEntries& kept, const CamRule& rule, std::int64_t layer)
{
    const auto old_values = v.contiguous();
    auto values = old_values.clone();
    const auto by_head = attention.contiguous();
    const auto head_size = v.size(1) * v.size(2);
    for (std::int64_t head = 0; head < v.size(0); ++head) {
        const auto stream = random_stream(rule.seed, layer * v.size(0) + head);
        const auto* weight = by_head.const_data_ptr<float>() + head * v.size(1);
        const auto* from = old_values.const_data_ptr<float>() + head * head_size;
        auto* to = values.data_ptr<float>() + head * head_size;
        std::vector<std::uint32_t> targets(kept.of(head).begin(), kept.of(head).end());
        std::sort(targets.begin(), targets.end());
        for (const auto entry : kept.evicted(head)) {
            const auto next = std::span(std::upper_bound(targets.begin(), targets.end(), entry), targets.end());
            const auto window = next.first(std::min(next.size(), static_cast<std::size_t>(rule.merge_budget)));
            const auto share = merged_share(weight[entry], mean_of(weight, window), rule, stream, entry);
            spread(from + entry * v.size(2), share, window, v.size(2), to);
        }
    }
    return values;
}

} // namespace lava
