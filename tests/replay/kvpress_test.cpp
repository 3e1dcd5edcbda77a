// kvpress 0.5.5's way with scores, windows and budgets, on examples small enough to work out by hand.

#include "base/error.h"
#include "replay/division/allocation_kvpress.h"
#include "replay/policies/registry.h"
#include "replay/retention.h"
#include "replay/scores/key_scores.h"
#include "replay/scores/rotary_embedding.h"
#include "small_layers.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

namespace lava {
namespace {

using ::testing::ElementsAre;
using testing::floats;
using ::testing::HasSubstr;
using testing::layer_of;
using testing::near;
using testing::request_of;
using testing::scores;
using testing::scores_at;
using ::testing::ThrowsMessage;
using testing::to_floats;

// One head whose keys are the logits of a query of 1.
LayerView layer_of_weights(const std::vector<float>& weights, std::int64_t window)
{
    const auto k = floats(weights).log().view({1, -1, 1});
    return layer_of(k, at::ones_like(k), window);
}

BudgetRequest request(std::int64_t layers, std::int64_t seq_len, std::int64_t budget, std::optional<double> ratio)
{
    return {{.num_layers = layers, .num_heads = 1, .num_kv_heads = 1}, seq_len, 0, budget, ratio};
}

TEST(Kvpress, TheWindowCompetesALittleAboveTheBestScore)
{
    // weights 1 2 3 | 4 10: as SnapKV without pooling, the two window entries get the largest of all + 1
    const auto layer = layer_of_weights({1, 2, 3, 4, 10}, 2);
    EXPECT_THAT(scores("snapkv@kvpress:window=2,pool=none", layer), near({0.075F, 0.15F, 0.225F, 1.225F, 1.225F}));
    EXPECT_EQ(parse_policy("snapkv@kvpress").make()->window(), 0); // so that a budget of 1 may cut into it
    EXPECT_EQ(parse_policy("snapkv@kvpress").make()->query_rows(), 64);
}

TEST(Kvpress, ObservedAttentionIsAMeanOverTheQueriesThatSeeAToken)
{
    auto layer = layer_of_weights({1, 1, 1, 1}, 1);
    layer.observed_attention = floats({2.0F, 1.5F, 0.4F, 0.1F}).view({1, 4});
    EXPECT_THAT(scores("h2o@kvpress", layer), near({0.5F, 0.5F, 0.2F, 0.1F}));
}

TEST(Kvpress, RandomWithASeedIsTorchsGeneratorAnewInEveryLayer)
{
    // torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(3))
    auto layer = layer_of(at::ones({2, 3, 1}), at::ones({2, 3, 1}), 1);
    const auto expected = near({0.0042635F, 0.1055694F, 0.2858425F, 0.0269548F, 0.4716144F, 0.0601163F});
    EXPECT_THAT(scores("random@kvpress:seed=3", layer), expected);
    layer.layer = 1;
    EXPECT_THAT(scores("random@kvpress:seed=3", layer), expected);
}

TEST(KvpressPyramid, IsLinearAndRoundedWithTheWindowInside)
{
    // N (1 - r) = 4096, beta 20: from 2 * 4096 - 204.8 down to 204.8
    const auto half = kvpress_pyramid(request(32, 8192, 4096, 0.5), 64, 20);
    EXPECT_EQ(half.front(), 7987);
    EXPECT_EQ(half.back(), 205);
    const auto quarter = kvpress_pyramid(request(32, 8192, 2048, 0.75), 64, 20);
    EXPECT_EQ(quarter.front(), 3994);
    EXPECT_EQ(quarter.back(), 102);
}

TEST(KvpressPyramid, IsUniformWhereTheTopLayerWouldNotHoldTheWindow)
{
    // 409.6 kept: a twentieth is below 64. round() here, where SnapKVPress truncates to 409
    EXPECT_THAT(kvpress_pyramid(request(3, 4096, 409, 0.9), 64, 20), ElementsAre(410, 410, 410));
    EXPECT_THAT(kvpress_pyramid(request(1, 8192, 4096, 0.5), 64, 20), ElementsAre(7987));
}

RankedLayer ranked(const at::Tensor& entries)
{
    auto layer = rank_layer({entries}, entries.size(1), 0);
    merge_heads(layer);
    return layer;
}

TEST(Safeguard, TotalsAreExactAndEveryHeadKeepsItsShare)
{
    const auto layer = ranked(floats({9.0F, 8, 7, 6, 5, /**/ 4.0F, 3, 2, 1, 0}).view({2, 5}));
    EXPECT_THAT(safeguarded_counts(layer, 2, 3, 0), ElementsAre(5, 1));
    EXPECT_THAT(safeguarded_counts(layer, 2, 3, 2), ElementsAre(4, 2));
    EXPECT_THAT(safeguarded_counts(layer, 2, 3, 3), ElementsAre(3, 3));
    EXPECT_THAT(safeguarded_counts(layer, 2, 5, 1), ElementsAre(5, 5));
    EXPECT_EQ(safeguard(9, 0.2), 1);
    EXPECT_EQ(safeguard(3, 0.2), 1); // int(0.6) is 0, but a head keeps one
    EXPECT_EQ(safeguard(3, 0), 0);
}

TEST(Ada, DividesALayerByAnyScores)
{
    const auto keys = floats({1.0F, 2, 3, 4, 5, /**/ 6.0F, 7, 8, 9, 10}).view({2, 5, 1});
    const auto layer = layer_of(keys, keys, 1);
    const auto policy = parse_policy("ada:base=knorm,alpha=0.34").make();
    const std::vector<RankedLayer> layers{ranked(policy->score(LayerInputs(layer, 0)).entries)};
    EXPECT_THAT(policy->allocate(layers, request_of(layer, 3)).retained, ElementsAre(5, 1));
}

TEST(Ada, RefusesABaseWithoutScoresOfItsOwn)
{
    EXPECT_THAT([] { parse_policy("ada:base=[snapkv:protect=first:4]").make(); },
        ThrowsMessage<UsageError>(HasSubstr("base: expected protect= outside the brackets")));
}

TEST(CriticalKv, HalfGoesByScoresTheRestTimesTheProjectedNorm)
{
    // last query attends by 4 3 2 1 of 20 (the window holds the rest); values 1 1 10 100 through W_O = 2
    auto layer = layer_of_weights({4, 3, 2, 1, 10}, 1);
    layer.v = floats({1.0F, 1, 10, 100, 1}).view({1, 5, 1});
    layer.w_o = at::full({1, 1}, 2.0F);
    // window 1.2; int(3 * 0.5) = 1 entry goes by the scores: the window's
    const auto largest = std::numeric_limits<float>::max();
    for (const std::string base : {"snapkv@kvpress:window=1,pool=none", "snapkv:window=1,pool=none"}) {
        const auto policy = "criticalkv:base=[" + base + "],epsilon=0";
        EXPECT_THAT(scores_at(policy, layer, 3), near({0.4F, 0.3F, 2, 10, largest})) << base;
        EXPECT_THAT(scores_at(policy, layer, 4), near({largest, 0.3F, 2, 10, largest})) << base;
    }
}

TEST(CriticalAda, HeadsKeepWhatAdaGrantsAndChooseByTwoStages)
{
    const auto base = floats({9.0F, 8, 7, 6, 5, /**/ 4.0F, 3, 2, 1, 0}).view({2, 5, 1});
    auto layer = layer_of(-base, floats({1.0F, 1, 1, 1, 1, /**/ 1, 1, 1, 1, 50}).view({2, 5, 1}), 1);
    layer.k = floats({1.0F, 2, 3, 4, 5, /**/ 6.0F, 7, 8, 9, 10}).view({2, 5, 1});
    layer.w_o = at::ones({1, 2});
    const auto policy = parse_policy("critical-ada:base=knorm,alpha=0.4,epsilon=11").make();
    const auto found = policy->score(LayerInputs(layer, 0));
    const auto at_three = policy->at_budget(found, request_of(layer, 3));
    EXPECT_THAT(at_three.head_counts, ElementsAre(5, 1));
    // at least int(3 * 0.4) = 1 of each head is safe; (11 - 10) * 50 lifts the last of the second head
    const std::vector<RankedLayer> layers{ranked(at_three.entries)};
    EXPECT_EQ(layers[0].ranking[5], 0U);
    EXPECT_EQ(layers[0].ranking[6], 4U);
}

TEST(KeyScores, NormAndDifference)
{
    const auto k = floats({3.0F, 4, /**/ 1, 0, /**/ 0, 2, /**/ 0, -1}).view({1, 4, 2});
    EXPECT_THAT(to_floats(key_norm_scores(k)), near({-5, -1, -2, -1}));
    // unit keys (.6, .8) (1, 0) (0, 1) (0, -1): their mean has the direction (2, 1) / sqrt(5)
    EXPECT_THAT(to_floats(key_difference_scores(k)), near({-0.8944272F, -0.8944272F, -0.4472136F, 0.4472136F}));
}

TEST(KeyDiff, InBlocksEachCompetesWithWhatWasKept)
{
    // Two kept of (1, 0) (1, 0) | (0, 1) | (1, 0): the third is unlike and stays beside the first; then the fourth
    // equals the first, which is older
    const auto k = floats({1.0F, 0, /**/ 1, 0, /**/ 0, 1, /**/ 1, 0}).view({1, 4, 2});
    EXPECT_THAT(scores_at("keydiff:block=1", layer_of(k, k, 1), 2), ElementsAre(1, 0, 1, 0));
}

TEST(LagKv, PlacesInEachPartitionByTheNextOnesRange)
{
    // Sink, partitions (1 2, 3 1) (0 4, 2 8) (5 5, 7 9), one token left over. In the units of the second partition
    // (range 2 and 4) the first has (.5, -.5) and (1.5, -.75): spreads .7071 and 1.5910
    const auto k = floats({9.0F, 9, 1, 2, 3, 1, 0, 4, 2, 8, 5, 5, 7, 9, 1, 1}).view({1, 8, 2});
    EXPECT_THAT(to_floats(lag_scores(k, k, {1, 2, false})), ElementsAre(1, 0, 0.5F, 0.5F, 0, 1, 1, 1));
    const auto across = to_floats(lag_scores(k, k, {1, 2, true}));
    EXPECT_NEAR(across[1], 1 / (1 + std::exp(1.5910 - 0.7071)), 1e-4);
    EXPECT_NEAR(across[3], 0.5, 1e-6);
}

TEST(LagKv, AShortPromptIsRankedByRecency)
{
    const auto k = at::ones({1, 5, 2});
    EXPECT_THAT(to_floats(lag_scores(k, k, {1, 4, false})), ElementsAre(1, 0, 0.25F, 0.5F, 0.75F));
}

TEST(Rotation, IsUndoneAndAveraged)
{
    const RotaryEmbedding rotation{{1, 0.25}, 1.5};
    // position 2 turns the pairs (0, 2) and (1, 3) by 2 and 0.5; the fifth number stays
    const auto at_two = mean_rotation(rotation, 5, 2, 1);
    const auto k = floats({1.0F, 2, 3, 4, 5}).view({5, 1});
    const auto turned = at::mm(at_two, k).view({1, 1, 5});
    EXPECT_NEAR(turned[0][0][0].item<float>(), 1.5 * (std::cos(2) * 1 - std::sin(2) * 3), 1e-5);
    EXPECT_THAT(to_floats(before_rotation(rotation, turned, 2)), near({1, 2, 3, 4, 5}));
    const auto mean = (at_two + mean_rotation(rotation, 5, 3, 1)) / 2;
    EXPECT_TRUE(at::allclose(mean, mean_rotation(rotation, 5, 2, 2), 1e-5, 1e-6));
}

TEST(ExpectedAttention, IsTheMeanOfTheExponentialOfAGaussian)
{
    // No rotation (frequency 0), head_dim 2, mean (2, 0), covariance 4 in the first number: z = 2 k / sqrt(2) + k^2
    const auto k = floats({0.0F, 0, 0, 0, 0, 0, 0, 0, /**/ 1, 0, /**/ -1, 0}).view({1, 6, 2});
    auto layer = layer_of(k, at::ones({1, 6, 2}), 1);
    layer.q_pre_rope_mean = floats({2.0F, 0}).view({1, 2});
    layer.q_pre_rope_cov = floats({4.0F, 0, 0, 0}).view({1, 2, 2});
    const auto first = std::exp(std::sqrt(2.0) + 1);
    const auto second = std::exp(-std::sqrt(2.0) + 1);
    const auto found = scores("expected-attention", layer);
    EXPECT_NEAR(found[4], std::sqrt(2.0) * first / (first + second), 1e-5);
    EXPECT_NEAR(found[5], std::sqrt(2.0) * second / (first + second), 1e-5);
    EXPECT_NEAR(found[0], found[4] + 1, 1e-5);
    const auto mean_only = scores("expected-attention:covariance=off,value_norm=off", layer);
    EXPECT_NEAR(mean_only[5], 1 / (1 + std::exp(2 * std::sqrt(2.0))), 1e-5);
}

} // namespace
} // namespace lava
