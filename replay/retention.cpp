#include "replay/retention.h"

#include "compute/descending_key.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace lava {

void descending_order(const float* values, std::int64_t count, std::uint32_t* order)
{
    constexpr int digit_bits = 11;
    constexpr std::uint32_t digit_mask = (1U << digit_bits) - 1;
    const auto size = static_cast<std::size_t>(count);
    std::vector<std::uint32_t> keys(size);
    std::array<std::array<std::uint32_t, 1U << digit_bits>, 3> offsets{};
    for (std::size_t i = 0; i < size; ++i) {
        keys[i] = descending_key(values[i]);
        for (int digit = 0; digit < 3; ++digit) {
            ++offsets[digit][keys[i] >> (digit * digit_bits) & digit_mask];
        }
    }
    std::vector<std::uint32_t> other(size);
    for (std::size_t i = 0; i < size; ++i) {
        order[i] = static_cast<std::uint32_t>(i);
    }
    auto* from = order;
    auto* to = other.data();
    for (int digit = 0; digit < 3; ++digit) {
        std::uint32_t start = 0;
        for (auto& offset : offsets[digit]) {
            start += std::exchange(offset, start);
        }
        for (std::size_t i = 0; i < size; ++i) {
            to[offsets[digit][keys[from[i]] >> (digit * digit_bits) & digit_mask]++] = from[i];
        }
        std::swap(from, to);
    }
    std::copy(from, from + count, order); // three passes end in `other`
}

RankedLayer rank_layer(const LayerScores& scores, std::int64_t seq_len, std::int64_t window,
    std::span<const std::uint8_t> protected_entries, const ReplayDevice* device)
{
    const auto entries = scores.entries.contiguous();
    const auto heads = entries.size(0);
    const auto evictable = seq_len - window;
    RankedLayer ranked;
    ranked.weight = scores.weight;
    ranked.head_counts = scores.head_counts;
    ranked.ranking.resize(static_cast<std::size_t>(heads * seq_len));
    ranked.sorted.resize(static_cast<std::size_t>(heads * evictable));
    const auto orders = device != nullptr ? device->descending_orders(entries.const_data_ptr<float>(), heads, evictable)
                                          : std::vector<std::uint32_t>();
    const auto is_protected = [&](std::uint32_t entry) { return protected_entries[entry] != 0; };
    for (std::int64_t head = 0; head < heads; ++head) {
        const auto* values = entries.const_data_ptr<float>() + head * evictable;
        auto* ranking = ranked.ranking.data() + head * seq_len;
        auto* sorted = ranked.sorted.data() + head * evictable;
        for (std::int64_t i = 0; i < window; ++i) {
            ranking[i] = static_cast<std::uint32_t>(seq_len - 1 - i);
        }
        auto* ranked_entries = ranking + window;
        if (device != nullptr) {
            std::copy_n(orders.begin() + head * evictable, evictable, ranked_entries);
        } else {
            descending_order(values, evictable, ranked_entries);
        }
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
