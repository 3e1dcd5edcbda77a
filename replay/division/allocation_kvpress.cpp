#include "replay/division/allocation_kvpress.h"

#include "base/sizes.h"
#include "replay/division/allocation.h"

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

// Entries of each head behind its first `safe` whose place among all of the layer is below `end`.
std::vector<std::int64_t> counts_below(
    const RankedLayer& layer, std::int64_t num_kv_heads, std::int64_t safe, std::int64_t end)
{
    const auto size = static_cast<std::int64_t>(layer.merged.size()) / num_kv_heads;
    std::vector<std::int64_t> counts;
    for (std::int64_t head = 0; head < num_kv_heads; ++head) {
        const auto begin = layer.merged.begin() + head * size; // ascending
        const auto rest = begin + std::min(safe, size);
        counts.push_back(std::lower_bound(rest, begin + size, static_cast<std::uint64_t>(end)) - rest);
    }
    return counts;
}

} // namespace

std::vector<std::int64_t> safeguarded_counts(
    const RankedLayer& layer, std::int64_t num_kv_heads, std::int64_t per_head, std::int64_t safe)
{
    const auto wanted = num_kv_heads * (per_head - safe);
    std::int64_t least = 0;
    auto most = static_cast<std::int64_t>(layer.merged.size());
    while (least < most) { // the least end that gives as many as wanted: every place is taken once
        const auto middle = least + (most - least) / 2;
        if (sum_of(counts_below(layer, num_kv_heads, safe, middle)) < wanted) {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    auto counts = counts_below(layer, num_kv_heads, safe, least);
    for (auto& count : counts) {
        count += safe;
    }
    return counts;
}

std::int64_t safeguard(std::int64_t per_head, double alpha)
{
    const auto share = static_cast<std::int64_t>(static_cast<double>(per_head) * alpha);
    return alpha > 0 && per_head > 0 ? std::max<std::int64_t>(1, share) : share;
}

Allocation safeguarded_heads(std::span<const RankedLayer> layers, const BudgetRequest& request, double alpha)
{
    const auto per_head = std::min(request.budget, request.evictable());
    Allocation allocation;
    for (const auto& layer : layers) {
        const auto counts = safeguarded_counts(layer, request.shape.num_kv_heads, per_head, safeguard(per_head, alpha));
        allocation.granted.insert(allocation.granted.end(), counts.begin(), counts.end());
    }
    allocation.retained = allocation.granted;
    return allocation;
}

std::vector<std::int64_t> kvpress_pyramid(const BudgetRequest& request, std::int64_t window, std::int64_t beta)
{
    const auto n = static_cast<double>(request.seq_len);
    const auto w = static_cast<double>(window);
    const auto share = 1 - request.evicted_share();
    const auto capacity = w + n * share; // the window is added and taken off again, which rounds as kvpress does
    auto least = (capacity - w) / static_cast<double>(beta);
    auto most = (capacity - w) * 2 - least;
    if (most >= n - w) {
        most = n - w;
        least = (capacity - w) * 2 - most;
    }
    const auto layers = request.shape.num_layers;
    if (!(n >= most && most >= least && least >= w)) {
        return uniform_layers(layers, std::max<std::int64_t>(1, std::llrint(n * share)));
    }
    const auto step = layers > 1 ? (most - least) / static_cast<double>(layers - 1) : 0.0;
    std::vector<std::int64_t> numbers;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        numbers.push_back(std::llrint(most - static_cast<double>(layer) * step));
    }
    return numbers;
}

Allocation settled_heads(std::span<const RankedLayer> layers, const BudgetRequest& request)
{
    Allocation allocation;
    for (const auto& layer : layers) {
        for (const auto count : layer.head_counts) {
            allocation.granted.push_back(count);
            allocation.retained.push_back(std::clamp<std::int64_t>(count, 0, request.evictable()));
        }
    }
    return allocation;
}

} // namespace lava
