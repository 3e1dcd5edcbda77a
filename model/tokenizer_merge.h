#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <tuple>
#include <vector>

namespace lava {

/// A run of bytes of a text and the vocabulary entry that stands for it.
struct Symbol
{
    std::int64_t id = 0;
    std::size_t begin = 0; ///< half-open bytes of the text
    std::size_t end = 0;
};

/// What two neighbours become, and when: the lowest priority merges first, ties leftmost.
struct Merge
{
    double priority = 0;
    std::int64_t id = 0;
};

/// Merges neighbours until no pair has a merge. `lookup(left, right)` returns std::optional<Merge>.
/// O(n log n) for n symbols.
template <typename Lookup> std::vector<Symbol> merge_symbols(std::vector<Symbol> symbols, const Lookup& lookup)
{
    struct Candidate
    {
        Merge merge;
        std::size_t left, right;
        std::int64_t left_id, right_id; ///< as they were: a later merge makes the candidate stale
    };
    const auto later = [](const Candidate& a, const Candidate& b) {
        return std::tie(a.merge.priority, a.left) > std::tie(b.merge.priority, b.left);
    };
    std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> candidates(later);

    const std::size_t none = symbols.size();
    std::vector<std::size_t> next(symbols.size()), previous(symbols.size());
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        next[i] = i + 1;
        previous[i] = i == 0 ? none : i - 1;
    }
    std::vector<bool> merged_away(symbols.size(), false);
    const auto propose = [&](std::size_t left, std::size_t right) {
        if (left == none || right == none) {
            return;
        }
        if (const std::optional<Merge> merge = lookup(symbols[left], symbols[right])) {
            candidates.push({*merge, left, right, symbols[left].id, symbols[right].id});
        }
    };
    for (std::size_t i = 1; i < symbols.size(); ++i) {
        propose(i - 1, i);
    }
    while (!candidates.empty()) {
        const Candidate best = candidates.top();
        candidates.pop();
        const bool stale = merged_away[best.left] || merged_away[best.right] || next[best.left] != best.right
            || symbols[best.left].id != best.left_id || symbols[best.right].id != best.right_id;
        if (stale) {
            continue;
        }
        symbols[best.left].id = best.merge.id;
        symbols[best.left].end = symbols[best.right].end;
        merged_away[best.right] = true;
        next[best.left] = next[best.right];
        if (next[best.left] != none) {
            previous[next[best.left]] = best.left;
        }
        propose(previous[best.left], best.left);
        propose(best.left, next[best.left]);
    }
    std::vector<Symbol> result;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        if (!merged_away[i]) {
            result.push_back(symbols[i]);
        }
    }
    return result;
}

} // namespace lava
