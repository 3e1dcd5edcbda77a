// Golden values were computed from the policies' released codes (AdaKV efe4e2e, LAVa 71d3cc8, cakekv c4675ce).

#include "replay/division/allocation.h"
#include "replay/retention.h"

#include <gmock/gmock.h>

#include <limits>
#include <numeric>

namespace lava {
namespace {

using ::testing::ElementsAre;

BudgetRequest request(
    std::int64_t layers, std::int64_t kv_heads, std::int64_t seq_len, std::int64_t window, std::int64_t budget)
{
    return {{.num_layers = layers, .num_heads = kv_heads, .num_kv_heads = kv_heads, .head_dim = 1, .hidden_size = 1},
        seq_len, window, budget};
}

std::int64_t sum(const std::vector<std::int64_t>& values)
{
    return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

TEST(PyramidLayers, FollowTheIntegerSchedule)
{
    const auto at_128 = pyramid_layers(request(32, 1, 100000, 32, 128), 20);
    EXPECT_EQ(at_128[0], 188);
    EXPECT_EQ(at_128[1], 183);
    EXPECT_EQ(at_128[31], 33);
    EXPECT_EQ(sum(at_128), 3536);

    const auto at_1024 = pyramid_layers(request(32, 1, 100000, 32, 1024), 20);
    EXPECT_EQ(at_1024[0], 1935);
    EXPECT_EQ(at_1024[0] - at_1024[1], 60);
    EXPECT_EQ(at_1024[31], 75);
    EXPECT_EQ(sum(at_1024), 32160);
}

TEST(PyramidLayers, AFlooredStepOfZeroGivesEveryLayerTheMost)
{
    EXPECT_EQ(pyramid_layers(request(64, 1, 100000, 32, 64), 20), uniform_layers(64, 63));
}

TEST(PyramidLayers, AreClippedToWhatExists)
{
    const auto clipped = pyramid_layers(request(32, 1, 1500, 32, 1024), 20);
    EXPECT_EQ(clipped[0], 1468);
    EXPECT_EQ(clipped[31], 538);
    const auto rising = pyramid_layers(request(32, 1, 900, 32, 1024), 20);
    EXPECT_EQ(rising[0], 868);
    EXPECT_EQ(rising[1], 876); // the step is floored below 0
}

TEST(PyramidLayers, OneLayerHasTheWholeBudget)
{
    EXPECT_THAT(pyramid_layers(request(1, 1, 100, 8, 40), 20), ElementsAre(32));
}

TEST(MergeHeads, OrdersALayersScoresWithTiesToTheLowerHead)
{
    RankedLayer layer;
    layer.sorted = {3, 2, 2, 1, /**/ 2, 2, 2, 2};
    merge_heads(layer);
    EXPECT_THAT(layer.merged, ElementsAre(0, 1, 2, 7, 3, 4, 5, 6));
}

TEST(LayerWideCounts, TiesGoToTheLowerHead)
{
    const std::vector<float> sorted{3, 2, 2, 1, /**/ 2, 2, 2, 2};
    EXPECT_THAT(layer_wide_counts(sorted, 2, 4, {}), ElementsAre(3, 1));
    EXPECT_THAT(layer_wide_counts(sorted, 2, 100, {}), ElementsAre(4, 4));
}

// One layer, two heads of six entries, budget 5 with a window of 2: three entries a head.
RankedLayer skewed_layer()
{
    RankedLayer layer;
    layer.sorted = {9, 8, 7, 6, 5, 1, /**/ 4, 0.5, 0.4, 0.3, 0.2, 0.1};
    merge_heads(layer);
    return layer;
}

TEST(AdaptiveHeads, MixTheLayerWideCountWithAFloor)
{
    // counts 5 and 1; alpha .2 with LAVa's floor int(.2 * 5) = 1: rhe(5 * .8 + 1) = 5, rhe(.8 + 1) = 2
    const std::vector layers{skewed_layer()};
    const std::vector<std::int64_t> numbers{3};
    const auto allocation
        = adaptive_heads(layers, numbers, request(1, 2, 8, 2, 5), {0.2, false, [](std::int64_t) { return 1; }});
    EXPECT_THAT(allocation.granted, ElementsAre(5, 2));
    EXPECT_THAT(allocation.retained, ElementsAre(5, 2));
}

TEST(AdaptiveHeads, RoundHalfToEven)
{
    RankedLayer layer;
    layer.sorted = {9, 8, 7, 0, 0, 0, /**/ 6, 5, 4, 3, 2, 0};
    merge_heads(layer);
    const std::vector layers{layer};
    const std::vector<std::int64_t> numbers{4};
    const auto allocation
        = adaptive_heads(layers, numbers, request(1, 2, 8, 2, 6), {0.5, false, [](std::int64_t) { return 1; }});
    EXPECT_THAT(allocation.granted, ElementsAre(2, 4)); // rhe(2.5), rhe(3.5)
}

TEST(AdaptiveHeads, CanDropAnEntryAtTheFullBudget)
{
    RankedLayer layer;
    layer.sorted.assign(2 * 98, 1.0F);
    merge_heads(layer);
    const std::vector layers{layer};
    const std::vector<std::int64_t> numbers{98};
    const auto floor = [](std::int64_t number) { return static_cast<std::int64_t>(0.2 * static_cast<double>(number)); };
    const auto allocation = adaptive_heads(layers, numbers, request(1, 2, 130, 32, 130), {0.2, false, floor});
    EXPECT_THAT(allocation.granted, ElementsAre(97, 97)); // rhe(78.4 + 19)
}

TEST(AdaptiveHeads, KeepAllOfALayerThatIsGrantedMoreThanExists)
{
    const std::vector layers{skewed_layer()};
    const std::vector<std::int64_t> numbers{7};
    const auto allocation
        = adaptive_heads(layers, numbers, request(1, 2, 8, 2, 5), {0.2, false, [](std::int64_t) { return 0; }});
    EXPECT_THAT(allocation.granted, ElementsAre(7, 7));
    EXPECT_THAT(allocation.retained, ElementsAre(6, 6));
}

TEST(AdaptiveHeads, NormalizeWeighsAHeadByTheMassOfItsTopEntries)
{
    RankedLayer layer; // head 0 is flat: half of its mass is in its top two; head 1's lies almost wholly there
    layer.sorted = {4, 4, 4, 4, /**/ 3, 3, 0.01F, 0.01F};
    merge_heads(layer);
    const std::vector layers{layer};
    const std::vector<std::int64_t> numbers{2};
    const auto none = [](std::int64_t) { return std::int64_t{0}; };
    const auto plain = adaptive_heads(layers, numbers, request(1, 2, 6, 2, 4), {0, false, none});
    EXPECT_THAT(plain.granted, ElementsAre(4, 0));
    const auto normalized = adaptive_heads(layers, numbers, request(1, 2, 6, 2, 4), {0, true, none});
    EXPECT_THAT(normalized.granted, ElementsAre(2, 2)); // 4 * .5 = 2 against 3 * .997
}

TEST(WeightedLayers, TruncateShares)
{
    std::vector<RankedLayer> layers(3);
    layers[0].weight = 1;
    layers[1].weight = 2;
    layers[2].weight = 3;
    EXPECT_THAT(weighted_layers(layers, request(3, 1, 1000, 10, 20)), ElementsAre(5, 10, 15));
    layers[2].weight = 3.1;
    EXPECT_THAT(weighted_layers(layers, request(3, 1, 1000, 10, 20)), ElementsAre(4, 9, 15));
}

TEST(CakeShares, SpreadWhatIsCutOffAndWhatTruncationLeft)
{
    EXPECT_THAT(cake_shares(std::vector{0.2, 0.3, 99.5}, 100, 60), ElementsAre(21, 19, 60));
}

TEST(CakeLayers, KeepAllUpToOneWindowAboveTheBudget)
{
    const std::vector preferences{1.0, 3.0};
    const auto untouched = cake_layers(preferences, request(2, 1, 50, 10, 40), true);
    EXPECT_THAT(untouched.kept, ElementsAre(40, 40));
    const auto cut = cake_layers(preferences, request(2, 1, 51, 10, 40), true);
    EXPECT_THAT(cut.granted, ElementsAre(19, 41)); // shares 15 and 45 of 60: 4 above what exists go to the first
    EXPECT_THAT(cut.kept, ElementsAre(19, 41));
}

TEST(CakeLayers, WhatACascadeEvictedCannotReturn)
{
    // After layer 1 the first layer's share is 10 of 20; after layer 2 rounding would give it more of what is left
    // over.
    const std::vector preferences{1.0, 1e-9, 1.0};
    const auto request_of_three = request(3, 1, 1000, 10, 17);
    const auto cascading = cake_layers(preferences, request_of_three, true);
    const auto once = cake_layers(preferences, request_of_three, false);
    EXPECT_EQ(cascading.granted, once.granted);
    EXPECT_EQ(sum(once.kept), 21);
    for (std::size_t layer = 0; layer < 3; ++layer) {
        EXPECT_LE(cascading.kept[layer], once.kept[layer]);
    }
}

// Two layers of two heads with three entries each.
std::vector<RankedLayer> two_layers()
{
    std::vector<RankedLayer> layers(2);
    layers[0].sorted = {9, 5, 5, /**/ 5, 1, -1};
    layers[1].sorted = {7, 5, 0, /**/ -0.0F, -2, -3};
    return layers;
}

TEST(ModelWide, OneRankingOverAllLayersWithTiesToTheLowerLayerAndHead)
{
    const auto layers = two_layers();
    EXPECT_THAT(model_wide_counts(layers, 2, 0), ElementsAre(0, 0, 0, 0));
    EXPECT_THAT(model_wide_counts(layers, 2, 2), ElementsAre(1, 0, 1, 0));
    EXPECT_THAT(model_wide_counts(layers, 2, 4), ElementsAre(3, 0, 1, 0)); // two of four entries that score 5
    EXPECT_THAT(model_wide_counts(layers, 2, 5), ElementsAre(3, 1, 1, 0));
    EXPECT_THAT(model_wide_counts(layers, 2, 8), ElementsAre(3, 2, 3, 0)); // -0 ties with +0
    EXPECT_THAT(model_wide_counts(layers, 2, 12), ElementsAre(3, 3, 3, 3));
    EXPECT_THAT(model_wide_counts(layers, 2, 99), ElementsAre(3, 3, 3, 3));
}

TEST(ModelWide, ProtectedEntriesComeFirst)
{
    auto layers = two_layers();
    layers[1].sorted[3] = std::numeric_limits<float>::infinity();
    EXPECT_THAT(model_wide_counts(layers, 2, 1), ElementsAre(0, 0, 0, 1));
    EXPECT_THAT(model_wide_counts(layers, 2, 2), ElementsAre(1, 0, 0, 1));
}

TEST(UniformHeads, AreClippedToWhatExists)
{
    const auto allocation = uniform_heads(std::vector<std::int64_t>{3, 9}, request(2, 2, 8, 2, 5));
    EXPECT_THAT(allocation.granted, ElementsAre(3, 3, 9, 9));
    EXPECT_THAT(allocation.retained, ElementsAre(3, 3, 6, 6));
}

} // namespace
} // namespace lava
