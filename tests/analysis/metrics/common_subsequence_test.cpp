#include "analysis/metrics/common_subsequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>

namespace lava {
namespace {

using Tokens = std::vector<std::size_t>;

/// The walk over the whole table of lengths, as the packages do it.
CommonWalk walk_of_the_table(const Tokens& first, const Tokens& second, bool prefer_first)
{
    std::vector<Tokens> length(first.size() + 1, Tokens(second.size() + 1));
    for (std::size_t i = 1; i <= first.size(); ++i)
        for (std::size_t j = 1; j <= second.size(); ++j)
            length[i][j] = first[i - 1] == second[j - 1] ? length[i - 1][j - 1] + 1
                                                         : std::max(length[i - 1][j], length[i][j - 1]);
    CommonWalk walk;
    std::size_t i = first.size(), j = second.size();
    for (; i > 0 && j > 0; ++walk.steps) {
        if (first[i - 1] == second[j - 1]) {
            walk.places.push_back(i - 1);
            --i;
            --j;
        } else if (prefer_first ? length[i][j - 1] > length[i - 1][j] : length[i - 1][j] <= length[i][j - 1]) {
            --j;
        } else {
            --i;
        }
    }
    return walk;
}

TEST(CommonSubsequence, IsTheTablesHoweverMuchIsHeldAtOnce)
{
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        const std::size_t words = 1 + random() % 5;
        const auto sentence = [&] {
            Tokens tokens(random() % 40);
            for (std::size_t& token : tokens)
                token = random() % words;
            return tokens;
        };
        const Tokens first = sentence(), second = sentence();
        for (const bool prefer_first : {false, true}) {
            const CommonWalk expected = walk_of_the_table(first, second, prefer_first);
            for (const std::size_t held : {std::size_t{0}, std::size_t{1}, std::size_t{100}, held_comparisons}) {
                const CommonWalk found = walk_common_subsequence(first, second, prefer_first, held);
                ASSERT_EQ(found.places, expected.places) << first.size() << " x " << second.size() << ", " << held;
                ASSERT_EQ(found.steps, expected.steps);
            }
        }
    }
}

TEST(CommonSubsequence, OfManyTokensNeedsNoTableOfTheirLengths)
{
    // a table of lengths would take 3.6 GB, the outcomes of its comparisons 112 MB
    const Tokens first(30'000, 1);
    Tokens second(30'000, 1);
    second[5] = 2;
    const CommonWalk walk = walk_common_subsequence(first, second, true, std::size_t{1} << 26);
    EXPECT_EQ(walk.places.size(), 29'999u);
}

} // namespace
} // namespace lava
