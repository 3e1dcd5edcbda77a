#include "replay/retention.h"

#include "compute/cpu/descending_order.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace lava {
namespace {

using ::testing::ElementsAre;

TEST(DescendingOrder, EqualsAStableSortForAnyFloats)
{
    std::mt19937 random(1);
    std::uniform_int_distribution<int> pick(-40, 40); // few values, so that ties are common
    std::vector<float> values(5000);
    for (auto& value : values) {
        const auto x = pick(random);
        value = x == 0 ? -0.0F : std::ldexp(static_cast<float>(x), x);
    }
    std::vector<std::uint32_t> expected(values.size());
    std::iota(expected.begin(), expected.end(), 0U);
    std::stable_sort(expected.begin(), expected.end(), [&](auto a, auto b) { return values[a] > values[b]; });

    std::vector<std::uint32_t> order(values.size());
    descending_order(values.data(), static_cast<std::int64_t>(values.size()), order.data());
    EXPECT_EQ(order, expected);
}

TEST(DescendingOrder, NegativeZeroTiesWithZero)
{
    const std::vector<float> values{-0.0F, 0.0F, -1.0F, -0.0F};
    std::vector<std::uint32_t> order(4);
    descending_order(values.data(), 4, order.data());
    EXPECT_THAT(order, ElementsAre(0, 1, 3, 2));
}

TEST(RankLayer, PutsTheWindowFirstThenScoresWithTiesToTheOlderEntry)
{
    const LayerScores scores{at::tensor({1.0F, 3.0F, 3.0F, 2.0F, 5.0F, 5.0F, 0.0F, 5.0F}).view({2, 4}), 1};
    const auto ranked = rank_layer(scores, 6, 2);
    EXPECT_THAT(ranked.ranking, ElementsAre(5, 4, 1, 2, 3, 0, 5, 4, 0, 1, 3, 2));
    EXPECT_THAT(ranked.sorted, ElementsAre(3, 3, 2, 1, 5, 5, 5, 0));
}

TEST(RankLayer, PutsProtectedEntriesBehindTheWindowTheOlderFirst)
{
    const LayerScores scores{at::tensor({1.0F, 3.0F, 3.0F, 2.0F}).view({1, 4}), 1};
    const std::vector<std::uint8_t> protected_entries{1, 0, 0, 1, 0, 1};
    const auto ranked = rank_layer(scores, 6, 2, protected_entries);
    EXPECT_THAT(ranked.ranking, ElementsAre(5, 4, 0, 3, 1, 2));
    const auto infinite = std::numeric_limits<float>::infinity();
    EXPECT_THAT(ranked.sorted, ElementsAre(infinite, infinite, 3, 3));
}

} // namespace
} // namespace lava
