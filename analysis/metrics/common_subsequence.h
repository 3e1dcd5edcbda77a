#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lava {

/// A way back from both ends of two sequences of tokens along one longest common subsequence.
struct CommonWalk
{
    std::vector<std::size_t> places; ///< in the first, from its end
    std::size_t steps = 0; ///< until the beginning of either is reached
};

/// Comparisons whose outcome is held at once: 64 MiB of bits.
constexpr std::size_t held_comparisons = std::size_t{1} << 29;

/// Where two ways are equally long, the last token of the second is passed over, or, with `prefer_first`, that of the
/// first: which words are found depends on it. Memory grows with the second's size, not with the product: where there
/// are more than `held` comparisons, parts of the table are computed again.
CommonWalk walk_common_subsequence(std::span<const std::size_t> first, std::span<const std::size_t> second,
    bool prefer_first, std::size_t held = held_comparisons);

} // namespace lava
