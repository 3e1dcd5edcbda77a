#include "replay/allocation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace lava {

namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

// Adds `amount` (of either sign) in equal parts to the chosen values, one more to the first of them while it lasts.
void spread(std::vector<std::int64_t>& values, const std::vector<std::size_t>& chosen, std::int64_t amount)
{
    const auto count = static_cast<std::int64_t>(chosen.size());
    if (count == 0) {
        return;
    }
    const auto size = std::abs(amount);
    const auto sign = amount < 0 ? -1 : 1;
    for (std::int64_t i = 0; i < count; ++i) {
        values[chosen[static_cast<std::size_t>(i)]] += sign * (size / count + (i < size % count ? 1 : 0));
    }
}

template <typename Predicate>
std::vector<std::size_t> indices_where(const std::vector<std::int64_t>& values, Predicate predicate)
{
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (predicate(values[i])) {
            chosen.push_back(i);
        }
    }
    return chosen;
}

// The share of each head's mass that its best `per_head` entries hold; protected entries have no score.
std::vector<double> concentration(const RankedLayer& layer, const BudgetRequest& request, std::int64_t per_head)
{
    const auto evictable = request.evictable();
    std::vector<double> scale;
    for (std::int64_t head = 0; head < request.shape.num_kv_heads; ++head) {
        const auto begin = layer.sorted.begin() + head * evictable;
        const auto scored = std::find_if(begin, begin + evictable, [](float score) { return std::isfinite(score); });
        const auto top = std::accumulate(scored, std::max(scored, begin + std::min(per_head, evictable)), 0.0);
        const auto all = std::accumulate(scored, begin + evictable, 0.0);
        scale.push_back(all > 0 ? top / all : 0.0);
    }
    return scale;
}

// Entries of each head among the layer's `count` best.
std::vector<std::int64_t> layer_wide(const RankedLayer& layer, std::int64_t num_heads, std::int64_t count)
{
    const auto evictable = static_cast<std::int64_t>(layer.merged.size()) / num_heads;
    std::vector<std::int64_t> counts;
    for (std::int64_t head = 0; head < num_heads; ++head) {
        const auto begin = layer.merged.begin() + head * evictable; // ascending
        counts.push_back(
            std::lower_bound(begin, begin + evictable, static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0)))
            - begin);
    }
    return counts;
}

// Floats in order of size, as whole numbers, and back; -0 is not told from +0.
std::uint32_t ordered(float value)
{
    const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

float from_ordered(std::uint32_t key)
{
    return std::bit_cast<float>((key & 0x80000000U) != 0 ? key & ~0x80000000U : ~key);
}

// Scores of one head, descending.
using HeadScores = std::span<const float>;

std::int64_t count_above(HeadScores scores, float value)
{
    return std::partition_point(scores.begin(), scores.end(), [value](float score) { return score > value; })
        - scores.begin();
}

std::int64_t count_above(const std::vector<HeadScores>& heads, float value)
{
    return std::accumulate(heads.begin(), heads.end(), std::int64_t{0},
        [value](std::int64_t sum, HeadScores scores) { return sum + count_above(scores, value); });
}

// The least value that no more than `count` scores exceed.
float cut_value(const std::vector<HeadScores>& heads, std::int64_t count)
{
    auto least = ordered(-std::numeric_limits<float>::infinity());
    auto most = ordered(std::numeric_limits<float>::infinity());
    while (least < most) {
        const auto middle = least + (most - least) / 2;
        if (count_above(heads, from_ordered(middle)) <= count) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    return from_ordered(least);
}

} // namespace

std::vector<std::int64_t> uniform_layers(std::int64_t num_layers, std::int64_t per_head)
{
    return std::vector<std::int64_t>(static_cast<std::size_t>(num_layers), per_head);
}

std::vector<std::int64_t> pyramid_layers(const BudgetRequest& request, std::int64_t beta)
{
    const auto layers = request.shape.num_layers;
    const auto spare = request.spare();
    if (layers == 1) {
        return {spare};
    }
    auto least = floor_div(spare, beta);
    auto most = 2 * spare - least;
    if (most >= request.evictable()) {
        most = request.evictable();
        least = 2 * spare - most;
    }
    const auto step = floor_div(most - least, layers - 1);
    std::vector<std::int64_t> numbers;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        numbers.push_back(most - layer * step);
    }
    return numbers;
}

std::vector<std::int64_t> weighted_layers(std::span<const RankedLayer> layers, const BudgetRequest& request)
{
    double sum = 0;
    for (const auto& layer : layers) {
        sum += layer.weight;
    }
    const auto total = static_cast<double>(request.spare() * request.shape.num_layers);
    std::vector<std::int64_t> numbers;
    for (const auto& layer : layers) {
        // No layer has a claim (all scores 0): share equally rather than divide by 0.
        const auto share = sum > 0 ? layer.weight / sum : 1.0 / static_cast<double>(layers.size());
        numbers.push_back(static_cast<std::int64_t>(share * total));
    }
    return numbers;
}

std::vector<std::int64_t> cake_shares(std::span<const double> preferences, std::int64_t total, std::int64_t most)
{
    const auto sum = std::accumulate(preferences.begin(), preferences.end(), 0.0);
    std::vector<std::int64_t> shares;
    for (const auto preference : preferences) {
        const auto share = sum > 0 ? preference / sum : 1.0 / static_cast<double>(preferences.size());
        shares.push_back(static_cast<std::int64_t>(share * static_cast<double>(total)));
    }
    std::int64_t excess = 0;
    for (auto& share : shares) {
        excess += std::max<std::int64_t>(share - most, 0);
        share = std::min(share, most);
    }
    const auto below = [most](std::int64_t share) { return share < most; };
    if (excess > 0) {
        spread(shares, indices_where(shares, below), excess);
    }
    const auto rest = total - std::accumulate(shares.begin(), shares.end(), std::int64_t{0});
    if (rest > 0) {
        spread(shares, indices_where(shares, below), rest);
    } else if (rest < 0) {
        spread(shares, indices_where(shares, [](std::int64_t share) { return share > 1; }), rest);
    }
    return shares;
}

CakeLayers cake_layers(std::span<const double> preferences, const BudgetRequest& request, bool cascading)
{
    const auto layers = static_cast<std::int64_t>(preferences.size());
    const auto evictable = request.evictable();
    CakeLayers result{uniform_layers(layers, request.spare()), uniform_layers(layers, evictable)};
    if (request.seq_len <= request.budget + request.window) { // cakekv's threshold is S + w, not S
        return result;
    }
    const auto total = request.spare() * layers;
    for (std::int64_t seen = cascading ? 1 : layers; seen <= layers; ++seen) {
        result.granted = cake_shares(preferences.first(static_cast<std::size_t>(seen)), total, evictable);
        for (std::size_t layer = 0; layer < result.granted.size(); ++layer) {
            // what was evicted earlier cannot return when the budget rises again
            result.kept[layer] = std::clamp<std::int64_t>(result.granted[layer], 0, result.kept[layer]);
        }
    }
    return result;
}

Allocation uniform_heads(std::span<const std::int64_t> per_head, const BudgetRequest& request)
{
    Allocation allocation;
    for (const auto number : per_head) {
        for (std::int64_t head = 0; head < request.shape.num_kv_heads; ++head) {
            allocation.granted.push_back(number);
            allocation.retained.push_back(std::clamp<std::int64_t>(number, 0, request.evictable()));
        }
    }
    return allocation;
}

std::vector<std::int64_t> layer_wide_counts(
    std::span<const float> sorted, std::int64_t num_kv_heads, std::int64_t count, std::span<const double> head_scale)
{
    const auto evictable = static_cast<std::int64_t>(sorted.size()) / num_kv_heads;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(num_kv_heads), 0);
    const auto next_score = [&](std::int64_t head) {
        const double score
            = sorted[static_cast<std::size_t>(head * evictable + counts[static_cast<std::size_t>(head)])];
        return head_scale.empty() || std::isinf(score) ? score : score * head_scale[static_cast<std::size_t>(head)];
    };
    for (std::int64_t taken = 0; taken < std::min(count, num_kv_heads * evictable); ++taken) {
        std::int64_t best = -1;
        double best_score = 0;
        for (std::int64_t head = 0; head < num_kv_heads; ++head) {
            if (counts[static_cast<std::size_t>(head)] == evictable) {
                continue;
            }
            const auto score = next_score(head);
            if (best < 0 || score > best_score) {
                best = head;
                best_score = score;
            }
        }
        ++counts[static_cast<std::size_t>(best)];
    }
    return counts;
}

Allocation adaptive_heads(std::span<const RankedLayer> layers, std::span<const std::int64_t> per_head,
    const BudgetRequest& request, const AdaptiveHeads& rule)
{
    const auto heads = request.shape.num_kv_heads;
    const auto evictable = request.evictable();
    const auto adaptive_share = static_cast<float>(1 - rule.alpha);
    Allocation allocation;
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        const auto number = per_head[layer];
        if (number > evictable) { // the released codes keep all, or (LAVa) crash; either way nothing is evicted
            allocation.granted.insert(allocation.granted.end(), static_cast<std::size_t>(heads), number);
            allocation.retained.insert(allocation.retained.end(), static_cast<std::size_t>(heads), evictable);
            continue;
        }
        const auto counts = rule.normalize ? layer_wide_counts(layers[layer].sorted, heads, heads * number,
                                concentration(layers[layer], request, number))
                                           : layer_wide(layers[layer], heads, heads * number);
        const auto floor = static_cast<float>(rule.floor(number));
        for (const auto count : counts) {
            const auto capacity = std::nearbyint(static_cast<float>(count) * adaptive_share + floor);
            allocation.granted.push_back(static_cast<std::int64_t>(capacity));
            allocation.retained.push_back(std::clamp<std::int64_t>(allocation.granted.back(), 0, evictable));
        }
    }
    return allocation;
}

std::vector<std::int64_t> model_wide_counts(
    std::span<const RankedLayer> layers, std::int64_t num_kv_heads, std::int64_t count)
{
    std::vector<HeadScores> heads;
    for (const auto& layer : layers) {
        const auto size = layer.sorted.size() / static_cast<std::size_t>(num_kv_heads);
        for (std::size_t head = 0; head < static_cast<std::size_t>(num_kv_heads); ++head) {
            heads.push_back(HeadScores(layer.sorted).subspan(head * size, size));
        }
    }
    const auto cut = cut_value(heads, count);
    auto left = count - count_above(heads, cut);
    std::vector<std::int64_t> counts;
    for (const auto scores : heads) {
        const auto above = count_above(scores, cut);
        const auto equal
            = std::upper_bound(scores.begin() + above, scores.end(), cut, std::greater<>()) - (scores.begin() + above);
        const auto taken = std::clamp<std::int64_t>(left, 0, equal);
        counts.push_back(above + taken);
        left -= taken;
    }
    return counts;
}

Allocation model_wide(std::span<const RankedLayer> layers, const BudgetRequest& request, std::int64_t count)
{
    auto counts = model_wide_counts(layers, request.shape.num_kv_heads, count);
    return {counts, counts};
}

} // namespace lava
