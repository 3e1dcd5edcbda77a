#include "analysis/metrics/similarity.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>

namespace lava {

namespace {

struct MatchBlock
{
    std::size_t first = 0;
    std::size_t second = 0;
    std::size_t size = 0;
};

struct MatchRange
{
    std::size_t first_begin, first_end, second_begin, second_end;
};

/// difflib's matcher of two sequences, down to which of several longest blocks it takes.
class SequenceMatcher
{
public:
    SequenceMatcher(CharactersView first, CharactersView second)
        : first_(first)
        , second_(second)
    {
        for (std::size_t i = 0; i < second.size(); ++i)
            places_[second[i]].push_back(i);
        if (second.size() >= 200)
            std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > second.size() / 100 + 1; });
    }

    /// Characters in matching blocks.
    std::size_t matches() const
    {
        std::size_t total = 0;
        std::vector<MatchRange> open = {{0, first_.size(), 0, second_.size()}};
        while (!open.empty()) {
            const MatchRange range = open.back();
            open.pop_back();
            const MatchBlock block = longest(range);
            if (block.size == 0)
                continue;
            total += block.size;
            if (range.first_begin < block.first && range.second_begin < block.second)
                open.push_back({range.first_begin, block.first, range.second_begin, block.second});
            const std::size_t first_end = block.first + block.size;
            const std::size_t second_end = block.second + block.size;
            if (first_end < range.first_end && second_end < range.second_end)
                open.push_back({first_end, range.first_end, second_end, range.second_end});
        }
        return total;
    }

private:
    MatchBlock longest(const MatchRange& range) const
    {
        MatchBlock best{range.first_begin, range.second_begin, 0};
        std::unordered_map<std::size_t, std::size_t> lengths; // of the match that ends at a place of the second
        for (std::size_t i = range.first_begin; i < range.first_end; ++i) {
            std::unordered_map<std::size_t, std::size_t> next;
            const auto found = places_.find(first_[i]);
            for (std::size_t k = 0; found != places_.end() && k < found->second.size(); ++k) {
                const std::size_t j = found->second[k];
                if (j < range.second_begin)
                    continue;
                if (j >= range.second_end)
                    break;
                const auto before = j == 0 ? lengths.end() : lengths.find(j - 1);
                const std::size_t length = (before == lengths.end() ? 0 : before->second) + 1;
                next[j] = length;
                if (length > best.size)
                    best = {i + 1 - length, j + 1 - length, length};
            }
            lengths.swap(next);
        }
        return extended(best, range);
    }

    /// Frequent characters start no block, but lengthen one.
    MatchBlock extended(MatchBlock block, const MatchRange& range) const
    {
        while (block.first > range.first_begin && block.second > range.second_begin
            && first_[block.first - 1] == second_[block.second - 1])
            block = {block.first - 1, block.second - 1, block.size + 1};
        while (block.first + block.size < range.first_end && block.second + block.size < range.second_end
            && first_[block.first + block.size] == second_[block.second + block.size])
            ++block.size;
        return block;
    }

    CharactersView first_;
    CharactersView second_;
    std::unordered_map<char32_t, std::vector<std::size_t>> places_; ///< in the second, ascending
};

/// fuzzywuzzy's answer where it asks no matcher.
std::optional<int> evident_ratio(CharactersView first, CharactersView second)
{
    if (first == second)
        return 100;
    if (first.empty() || second.empty())
        return 0;
    return std::nullopt;
}

/// Half-way cases to the even number, as Python rounds.
int percentage(double ratio)
{
    return static_cast<int>(std::nearbyint(100 * ratio));
}

std::size_t longest_common_subsequence(CharactersView first, CharactersView second)
{
    std::vector<std::size_t> row(second.size() + 1);
    for (const char32_t c : first) {
        std::size_t diagonal = 0;
        for (std::size_t j = 0; j < second.size(); ++j) {
            const std::size_t above = row[j + 1];
            row[j + 1] = c == second[j] ? diagonal + 1 : std::max(above, row[j]);
            diagonal = above;
        }
    }
    return row.back();
}

} // namespace

int difflib_ratio(CharactersView first, CharactersView second)
{
    if (const auto evident = evident_ratio(first, second))
        return *evident;
    const auto matches = static_cast<double>(SequenceMatcher(first, second).matches());
    return percentage(2 * matches / static_cast<double>(first.size() + second.size()));
}

int levenshtein_ratio(CharactersView first, CharactersView second)
{
    if (const auto evident = evident_ratio(first, second))
        return *evident;
    const std::size_t size = first.size() + second.size();
    const std::size_t distance = size - 2 * longest_common_subsequence(first, second);
    return percentage(1 - static_cast<double>(distance) / static_cast<double>(size));
}

} // namespace lava
