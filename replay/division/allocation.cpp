#include "replay/division/allocation.h"

#include <algorithm>
#include <bit>
#include <cmath>
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
std::vector<double> concentration(
    const RankedLayer& layer, const BudgetRequest& request, std::int64_t per_head, Precision precision)
{
    const auto round = [precision](double x) {
        return precision == Precision::fp32 ? x : static_cast<double>(rounded(static_cast<float>(x), precision));
    };
    const auto evictable = request.evictable();
    std::vector<double> scale;
    for (std::int64_t head = 0; head < request.shape.num_kv_heads; ++head) {
        const auto begin = layer.sorted.begin() + head * evictable;
        const auto scored = std::find_if(begin, begin + evictable, [](float score) { return std::isfinite(score); });
        const auto top = std::accumulate(scored, std::max(scored, begin + std::min(per_head, evictable)), 0.0);
        const auto all = std::accumulate(scored, begin + evictable, 0.0);
        scale.push_back(all > 0 ? round(round(top) / round(all)) : 0.0);
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

// Numbers in order of size, as whole ones, and back; -0 is not told from +0.
std::uint64_t ordered(double value)
{
    constexpr auto sign = std::uint64_t{1} << 63;
    const auto bits = std::bit_cast<std::uint64_t>(value + 0.0);
    return (bits & sign) != 0 ? ~bits : bits | sign;
}

double from_ordered(std::uint64_t key)
{
    constexpr auto sign = std::uint64_t{1} << 63;
    return std::bit_cast<double>((key & sign) != 0 ? key & ~sign : ~key);
}

// A head's scores, descending, and what they are multiplied by before heads are compared.
struct ScaledHead
{
    std::span<const float> scores;
    double scale = 1;
    Precision precision = Precision::fp32;

    double value(float score) const
    {
        if (scale == 1 || std::isinf(score)) {
            return score;
        }
        const auto product = score * scale;
        return precision == Precision::fp32 ? product : rounded(static_cast<float>(product), precision);
    }

    std::int64_t count_above(double limit) const
    {
        return std::partition_point(scores.begin(), scores.end(), [&](float score) { return value(score) > limit; })
            - scores.begin();
    }

    std::int64_t count_equal(double limit, std::int64_t above) const
    {
        return std::partition_point(scores.begin() + above, scores.end(), [&](float score) {
            return value(score) >= limit;
        }) - (scores.begin() + above);
    }
};

std::int64_t count_above(const std::vector<ScaledHead>& heads, double limit)
{
    return std::accumulate(heads.begin(), heads.end(), std::int64_t{0},
        [limit](std::int64_t sum, const ScaledHead& head) { return sum + head.count_above(limit); });
}

// Entries of each head among the `count` best of all; ties to the lower head.
std::vector<std::int64_t> counts_of_best(const std::vector<ScaledHead>& heads, std::int64_t count)
{
    auto least = ordered(-std::numeric_limits<double>::infinity()); // that no more than `count` exceed
    auto most = ordered(std::numeric_limits<double>::infinity());
    while (least < most) {
        const auto middle = least + (most - least) / 2;
        if (count_above(heads, from_ordered(middle)) <= count) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    const auto cut = from_ordered(least);
    auto left = count - count_above(heads, cut);
    std::vector<std::int64_t> counts;
    for (const auto& head : heads) {
        const auto above = head.count_above(cut);
        const auto taken = std::clamp<std::int64_t>(left, 0, head.count_equal(cut, above));
        counts.push_back(above + taken);
        left -= taken;
    }
    return counts;
}

void add_heads(std::vector<ScaledHead>& heads, std::span<const float> sorted, std::int64_t num_kv_heads)
{
    const auto size = sorted.size() / static_cast<std::size_t>(num_kv_heads);
    for (std::size_t head = 0; head < static_cast<std::size_t>(num_kv_heads); ++head) {
        heads.push_back({sorted.subspan(head * size, size)});
    }
}

} // namespace

std::vector<std::int64_t> uniform_layers(std::int64_t num_layers, std::int64_t per_head)
{
    return std::vector<std::int64_t>(static_cast<std::size_t>(num_layers), per_head);
}

std::vector<std::int64_t> pyramid_layers(const BudgetRequest& request, std::int64_t beta, std::int64_t first_prompt)
{
    const auto evictable = first_prompt > 0 ? first_prompt - request.window : request.evictable();
    const auto layers = request.shape.num_layers;
    const auto spare = request.spare();
    if (layers == 1) {
        return {spare};
    }
    auto least = floor_div(spare, beta);
    auto most = 2 * spare - least;
    if (most >= evictable) {
        most = evictable;
        least = 2 * spare - most;
    }
    const auto step = floor_div(most - least, layers - 1);
    std::vector<std::int64_t> numbers;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        numbers.push_back(most - layer * step);
    }
    return numbers;
}

std::vector<std::int64_t> kvcache_factory_pyramid(const BudgetRequest& request, std::int64_t beta)
{
    return request.seq_len < 2 * request.spare() ? uniform_layers(request.shape.num_layers, request.spare())
                                                 : pyramid_layers(request, beta);
}

std::vector<std::int64_t> paper_pyramid(const BudgetRequest& request, std::int64_t beta)
{
    const auto layers = request.shape.num_layers;
    if (layers == 1) {
        return {request.spare()};
    }
    const auto budget = static_cast<double>(request.budget);
    const auto least = budget / static_cast<double>(beta);
    const auto most = 2 * budget - least;
    std::vector<std::int64_t> numbers;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const auto down = (most - least) * static_cast<double>(layer) / static_cast<double>(layers - 1);
        numbers.push_back(std::max<std::int64_t>(static_cast<std::int64_t>(most - down) - request.window, 0));
    }
    return numbers;
}

std::vector<std::int64_t> table_layers(std::span<const double> budgets, const BudgetRequest& request)
{
    const auto sum = std::accumulate(budgets.begin(), budgets.end(), 0.0);
    const auto total = static_cast<double>(request.budget * request.shape.num_layers);
    std::vector<std::int64_t> numbers;
    for (const auto budget : budgets) {
        const auto share = static_cast<std::int64_t>(budget * total / sum); // exact where sum is the total
        numbers.push_back(std::max<std::int64_t>(share - request.window, 0));
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

std::vector<std::int64_t> layer_wide_counts(std::span<const float> sorted, std::int64_t num_kv_heads,
    std::int64_t count, std::span<const double> head_scale, Precision precision)
{
    std::vector<ScaledHead> heads;
    add_heads(heads, sorted, num_kv_heads);
    for (std::size_t head = 0; head < head_scale.size(); ++head) {
        heads[head].scale = head_scale[head];
        heads[head].precision = precision;
    }
    return counts_of_best(heads, count);
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
                                concentration(layers[layer], request, number, rule.precision), rule.precision)
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
    std::vector<ScaledHead> heads;
    for (const auto& layer : layers) {
        add_heads(heads, layer.sorted, num_kv_heads);
    }
    return counts_of_best(heads, count);
}

Allocation model_wide(std::span<const RankedLayer> layers, const BudgetRequest& request, std::int64_t count)
{
    auto counts = model_wide_counts(layers, request.shape.num_kv_heads, count);
    return {counts, counts};
}

} // namespace lava
