#include "analysis/metrics/common_subsequence.h"

#include <algorithm>

namespace lava {

CommonSubsequences::CommonSubsequences(std::span<const std::size_t> first, std::span<const std::size_t> second)
    : first_(first)
    , second_(second)
    , columns_(second.size() + 1)
    , lengths_((first.size() + 1) * columns_)
{
    for (std::size_t i = 1; i <= first.size(); ++i) {
        for (std::size_t j = 1; j <= second.size(); ++j)
            lengths_[i * columns_ + j] = first[i - 1] == second[j - 1] ? length(i - 1, j - 1) + 1
                                                                       : std::max(length(i - 1, j), length(i, j - 1));
    }
}

CommonSubsequences::Walk CommonSubsequences::walk(bool prefer_first) const
{
    Walk walk;
    std::size_t i = first_.size();
    std::size_t j = second_.size();
    for (; i > 0 && j > 0; ++walk.steps) {
        if (first_[i - 1] == second_[j - 1]) {
            walk.places.push_back(i - 1);
            --i;
            --j;
        } else if (prefer_first ? length(i, j - 1) > length(i - 1, j) : length(i - 1, j) <= length(i, j - 1)) {
            --j;
        } else {
            --i;
        }
    }
    return walk;
}

} // namespace lava
