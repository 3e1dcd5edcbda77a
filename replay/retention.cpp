#include "replay/retention.h"

#include "compute/cpu/descending_order.h"

#include <algorithm>
#include <limits>

namespace lava {

RankedLayer rank_layer(const LayerScores& scores, std::int64_t seq_len, std::int64_t window,
    std::span<const std::uint8_t> protected_entries, const Device& device)
{
    const auto entries = scores.entries.contiguous();
    const auto heads = entries.size(0);
    const auto evictable = seq_len - window;
    RankedLayer ranked;
    ranked.weight = scores.weight;
    ranked.head_counts = scores.head_counts;
    ranked.ranking.resize(static_cast<std::size_t>(heads * seq_len));
    ranked.sorted.resize(static_cast<std::size_t>(heads * evictable));
    std::vector<std::uint32_t> orders(static_cast<std::size_t>(heads * evictable));
    device.descending_orders(entries.const_data_ptr<float>(), heads, evictable, orders.data());
    const auto is_protected = [&](std::uint32_t entry) { return protected_entries[entry] != 0; };
    for (std::int64_t head = 0; head < heads; ++head) {
        const auto* values = entries.const_data_ptr<float>() + head * evictable;
        auto* ranking = ranked.ranking.data() + head * seq_len;
        auto* sorted = ranked.sorted.data() + head * evictable;
        for (std::int64_t i = 0; i < window; ++i) {
            ranking[i] = static_cast<std::uint32_t>(seq_len - 1 - i);
        }
        auto* ranked_entries = ranking + window;
        std::copy_n(orders.begin() + head * evictable, evictable, ranked_entries);
        std::int64_t first = 0; // behind the protected ones
        if (!protected_entries.empty()) {
            auto* end = std::stable_partition(ranked_entries, ranked_entries + evictable, is_protected);
            std::sort(ranked_entries, end);
            first = end - ranked_entries;
            std::fill(sorted, sorted + first, std::numeric_limits<float>::infinity());
        }
        for (auto i = first; i < evictable; ++i) {
            sorted[i] = values[ranked_entries[i]];
        }
    }
    return ranked;
}

void merge_heads(RankedLayer& layer)
{
    // A stable sort of all of it orders ties by head, then by place
    const auto count = static_cast<std::int64_t>(layer.sorted.size());
    std::vector<std::uint32_t> order(layer.sorted.size());
    descending_order(layer.sorted.data(), count, order.data());
    layer.merged.resize(layer.sorted.size());
    for (std::size_t place = 0; place < order.size(); ++place) {
        layer.merged[order[place]] = static_cast<std::uint32_t>(place);
    }
}

} // namespace lava
