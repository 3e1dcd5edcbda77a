#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lava {

/// Lengths of the longest common subsequences of all beginnings of two sequences of tokens.
class CommonSubsequences
{
public:
    CommonSubsequences(std::span<const std::size_t> first, std::span<const std::size_t> second);

    /// Of the first `i` and the first `j` tokens.
    std::uint32_t length(std::size_t i, std::size_t j) const { return lengths_[i * columns_ + j]; }

    struct Walk
    {
        std::vector<std::size_t> places; ///< in the first, of one longest common subsequence, from its end
        std::size_t steps = 0;
    };
    /// Back from both ends. Where two ways are equally long, the last token of the second is passed over, or, with
    /// `prefer_first`, that of the first: which words are found depends on it.
    Walk walk(bool prefer_first) const;

private:
    std::span<const std::size_t> first_;
    std::span<const std::size_t> second_;
    std::size_t columns_;
    std::vector<std::uint32_t> lengths_; // [first + 1, second + 1]
};

} // namespace lava
