#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>
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

/// Symbols in the order of the text, merged in place: the left one of a pair takes over, the right one is unlinked.
class SymbolChain
{
public:
    explicit SymbolChain(std::vector<Symbol> symbols)
        : symbols_(std::move(symbols))
        , next_(symbols_.size())
        , previous_(symbols_.size())
        , linked_(symbols_.size(), true)
    {
        for (std::size_t i = 0; i < symbols_.size(); ++i) {
            next_[i] = i + 1;
            previous_[i] = i == 0 ? none() : i - 1;
        }
    }

    std::size_t none() const { return symbols_.size(); } ///< neighbour of the first and last
    const Symbol& operator[](std::size_t i) const { return symbols_[i]; }
    std::size_t next(std::size_t i) const { return next_[i]; }
    std::size_t previous(std::size_t i) const { return previous_[i]; }
    bool adjacent(std::size_t left, std::size_t right) const
    {
        return linked_[left] && linked_[right] && next_[left] == right;
    }

    void merge(std::size_t left, std::size_t right, std::int64_t id)
    {
        symbols_[left] = {id, symbols_[left].begin, symbols_[right].end};
        linked_[right] = false;
        next_[left] = next_[right];
        if (next_[left] != none()) {
            previous_[next_[left]] = left;
        }
    }

    std::vector<Symbol> linked() const
    {
        std::vector<Symbol> result;
        for (std::size_t i = 0; i < symbols_.size(); ++i) {
            if (linked_[i]) {
                result.push_back(symbols_[i]);
            }
        }
        return result;
    }

private:
    std::vector<Symbol> symbols_;
    std::vector<std::size_t> next_, previous_;
    std::vector<bool> linked_;
};

/// A merge that was possible when it was proposed.
struct MergeCandidate
{
    Merge merge;
    std::size_t left = 0, right = 0;
    std::int64_t left_id = 0, right_id = 0; ///< as they were: a later merge makes the candidate stale

    bool operator>(const MergeCandidate& other) const
    {
        return std::tie(merge.priority, left) > std::tie(other.merge.priority, other.left);
    }
};

/// Merges neighbours until no pair has a merge. `lookup(left, right)` returns std::optional<Merge>.
/// O(n log n) for n symbols.
template <typename Lookup> std::vector<Symbol> merge_symbols(std::vector<Symbol> symbols, const Lookup& lookup)
{
    SymbolChain chain(std::move(symbols));
    std::priority_queue<MergeCandidate, std::vector<MergeCandidate>, std::greater<>> candidates;
    const auto propose = [&](std::size_t left, std::size_t right) {
        if (left == chain.none() || right == chain.none()) {
            return;
        }
        if (const std::optional<Merge> merge = lookup(chain[left], chain[right])) {
            candidates.push({*merge, left, right, chain[left].id, chain[right].id});
        }
    };
    for (std::size_t i = 1; i < chain.none(); ++i) {
        propose(i - 1, i);
    }
    while (!candidates.empty()) {
        const MergeCandidate best = candidates.top();
        candidates.pop();
        const bool stale = !chain.adjacent(best.left, best.right) || chain[best.left].id != best.left_id
            || chain[best.right].id != best.right_id;
        if (!stale) {
            chain.merge(best.left, best.right, best.merge.id);
            propose(chain.previous(best.left), best.left);
            propose(best.left, chain.next(best.left));
        }
    }
    return chain.linked();
}

} // namespace lava
