// Each policy's scores and shares on layers small enough to work out by hand, and against its own definition.

#include "replay/policies/registry.h"
#include "replay/retention.h"
#include "synthetic.h"
#include "worked_layer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

namespace lava {
namespace {

using ::testing::ElementsAre;
using testing::layer_with_keys;
using testing::ln;
using testing::rounded;
using testing::scores;
using testing::small_options;

TEST(WindowAttention, IsCausalInsideTheWindowAndNotRenormalised)
{
    // weights 1 2 3 | 4 10, window of two queries: the first sees a total of 10, the last of 20
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    const auto attention = LayerInputs(layer, 2).window_attention(2);
    EXPECT_NEAR(attention[0][0][0].item<float>(), 0.1, 1e-6);
    EXPECT_EQ(attention[0][0][4].item<float>(), 0);
    EXPECT_NEAR(attention[0][1][4].item<float>(), 0.5, 1e-6);
    // SnapKV without pooling: (1/10 + 1/20) / 2 and so on
    EXPECT_THAT(rounded(scores("snapkv:window=2,pool=none", layer)), ElementsAre(0.075F, 0.15F, 0.225F));
}

TEST(WindowAttention, SmallerWindowsUseTheLastQueries)
{
    const auto layer = synthesize_layer(small_options(), 0);
    const auto wide = LayerInputs(layer, 40).window_attention(8);
    EXPECT_TRUE(at::equal(wide, LayerInputs(layer, 8).window_attention(8)));
}

TEST(SnapKv, PoolsOverSevenPositionsAfterTheGroupsMean)
{
    const auto layer = synthesize_layer(small_options(), 1);
    const auto attention = LayerInputs(layer, 32).mean_window_attention(32).view({2, 3, 168}).mean(1);
    const auto entries = parse_policy("snapkv").make()->score(LayerInputs(layer, 32)).entries;
    for (const std::int64_t i : {0, 2, 100, 167}) {
        const auto begin = std::max<std::int64_t>(0, i - 3);
        const auto end = std::min<std::int64_t>(168, i + 4);
        const auto expected = attention[1].narrow(0, begin, end - begin).max().item<float>();
        EXPECT_EQ(entries[1][i].item<float>(), expected) << i;
    }
}

TEST(SnapKv, AveragePoolingCountsPaddedZeros)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    EXPECT_THAT(rounded(scores("snapkv:window=2,pool=avg,kernel=3", layer)), ElementsAre(0.075F, 0.15F, 0.125F));
}

TEST(SnapKv, GroupMayBeReducedAfterPooling)
{
    // two query heads on one KV head; pooling by max and the group's mean do not commute
    auto layer = layer_with_keys({{ln(1), ln(3), ln(1), ln(5)}}, {{1, 1, 1, 1}}, 2, 1);
    layer.q_window[1].fill_(-1); // weights 1, 1/3, 1, 1/5 of the second head
    const float second = 1 + 1.F / 3 + 1 + 1.F / 5;
    const auto before = scores("snapkv:window=1,kernel=3", layer);
    const auto after = scores("snapkv:window=1,kernel=3,gqa_at=post_pool", layer);
    EXPECT_NEAR(before[0], std::max((0.1F + 1 / second) / 2, (0.3F + 1 / second / 3) / 2), 1e-6);
    EXPECT_NEAR(after[0], (0.3F + 1 / second) / 2, 1e-6);
}

TEST(Tova, AveragesTheLastQueryOverAllHeadsOfTheLayer)
{
    const auto layer = layer_with_keys({{ln(1), ln(1), ln(2)}, {ln(1), ln(6), ln(3)}}, {{1, 1, 1}, {1, 1, 1}}, 2, 1);
    // (1/4 + 1/10) / 2, (1/4 + 6/10) / 2, in both heads
    EXPECT_THAT(rounded(scores("tova", layer)), ElementsAre(0.175F, 0.425F, 0.175F, 0.425F));
    EXPECT_THAT(rounded(scores("tova:heads=group", layer)), ElementsAre(0.25F, 0.25F, 0.1F, 0.6F));
}

TEST(Knorm, OfKvCacheFactoryLeavesTwoLayersWhole)
{
    const auto policy = parse_policy("knorm@kvcache-factory").make();
    EXPECT_TRUE(policy->per_query_head());
    const ModelShape shape{.num_layers = 3, .num_heads = 2, .num_kv_heads = 2, .head_dim = 1, .hidden_size = 2};
    EXPECT_THAT(policy->allocate({}, {shape, 50, 0, 8}).retained, ElementsAre(50, 50, 50, 50, 8, 8));
}

TEST(Vatp, ScissorhandsFormAsksOlderQueriesThanItKeeps)
{
    // Queries of 1, the last two asked, the last one kept: 1/4 1/4 1/2 of three keys and 1/7 1/7 2/7 3/7 of four.
    const auto layer = layer_with_keys({{ln(1), ln(1), ln(2), ln(3)}}, {{1, 2, -1, 1}}, 1, 2);
    EXPECT_THAT(rounded(scores("vatp@official-scissorhands:rows=2,window=1", layer)),
        ElementsAre(0.1964F, 0.3929F, 0.3929F)); // (1/4 + 1/7) / 2, times 1; times 2; (1/2 + 2/7) / 2
    // All four, where more than there are is asked: 1 + 1/2 + 1/4 + 1/7, 1/2 + 1/4 + 1/7, 1/2 + 2/7 over four
    const auto all = layer_with_keys({{ln(1), ln(1), ln(2), ln(3)}}, {{1, 1, 1, 1}}, 1, 4);
    EXPECT_THAT(rounded(scores("vatp@official-scissorhands:window=1", all)), ElementsAre(0.4732F, 0.2232F, 0.1964F));
}

TEST(Vatp, ScissorhandsFormKeepsTwiceTheHalf)
{
    const auto policy = parse_policy("vatp@official-scissorhands").make();
    EXPECT_EQ(policy->window(), 10);
    const ModelShape shape{.num_layers = 1, .num_heads = 1, .num_kv_heads = 1, .head_dim = 1, .hidden_size = 1};
    EXPECT_THAT(policy->allocate({}, {shape, 1000, 10, 65}).retained, ElementsAre(54)); // 2 * 32 - 10
}

TEST(H2O, AveragesColumnSumsOverTheGroup)
{
    auto layer = layer_with_keys({{0, 0, 0, 0}}, {{1, 1, 1, 1}}, 2, 1);
    layer.observed_attention = at::tensor({4.0F, 1.0F, 2.0F, 9.0F, 0.0F, 3.0F, 8.0F, 9.0F}).view({2, 4});
    layer.observed_attention_off_diagonal = layer.observed_attention - 1;
    EXPECT_THAT(scores("h2o:window=1", layer), ElementsAre(2, 2, 5));
    EXPECT_THAT(scores("h2o:window=1,gqa=max,diagonal=off", layer), ElementsAre(3, 2, 7));
}

TEST(StreamingLlm, KeepsSinksAndTheMostRecent)
{
    const auto layer = layer_with_keys({{0, 0, 0, 0, 0, 0}}, {{1, 1, 1, 1, 1, 1}}, 1, 1);
    const auto policy = parse_policy("streaming-llm:sinks=2").make();
    const auto ranked = rank_layer(policy->score(LayerInputs(layer, 0)), 6, policy->window());
    EXPECT_THAT(ranked.ranking, ElementsAre(0, 1, 5, 4, 3, 2));
}

TEST(Random, DependsOnSeedLayerAndHeadAlone)
{
    const auto layer = synthesize_layer(small_options(), 1);
    const auto other = synthesize_layer(small_options(), 2);
    EXPECT_EQ(scores("random", layer), scores("random", layer));
    EXPECT_NE(scores("random", layer), scores("random:seed=1", layer));
    EXPECT_NE(scores("random", layer), scores("random", other));
    const auto values = scores("random", layer);
    const std::vector<float> first(values.begin(), values.begin() + 168);
    const std::vector<float> second(values.begin() + 168, values.end());
    EXPECT_NE(first, second);
}

TEST(Vatp, WeighsPooledAttentionByEachValuesNorm)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4)}}, {{-5, 1, 2, 1}}, 1, 1);
    // pooled by 3: .2 .3 .3, times 5, 1, 2
    EXPECT_THAT(rounded(scores("vatp:window=1,kernel=3", layer)), ElementsAre(1.0F, 0.3F, 0.6F));
}

TEST(Lava, WeighsAHeadByItsLargestValueNorm)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4)}}, {{-5, 1, 2, 7}}, 1, 1);
    EXPECT_THAT(rounded(scores("lava:window=1,pool=none", layer)), ElementsAre(0.7F, 1.4F, 2.1F));
    // the released code leaves the window's values out
    EXPECT_THAT(rounded(scores("lava@official:window=1,pool=none", layer)), ElementsAre(0.5F, 1.0F, 1.5F));
}

TEST(Lava, ReducesTheGroupByMax)
{
    auto layer = layer_with_keys({{ln(1), ln(3), ln(1), ln(5)}}, {{1, 1, 1, 1}}, 2, 1);
    layer.q_window[1].fill_(-1);
    const float second = 1 + 1.F / 3 + 1 + 1.F / 5;
    EXPECT_NEAR(scores("lava:window=1,pool=none", layer)[0], 1 / second, 1e-6);
    EXPECT_NEAR(scores("lava:window=1,pool=none", layer)[1], 0.3, 1e-6);
}

TEST(Lava, LayersClaimByScoreEntropy)
{
    // uniform scores: entropy 1 after normalisation; all on one entry: 0
    EXPECT_NEAR(score_entropy(at::ones({2, 50})), 1, 1e-12);
    auto one = at::zeros({2, 50});
    one[1][3] = 4;
    EXPECT_NEAR(score_entropy(one), 0, 1e-12);
    // two equal entries among 100: ln 2 / ln 100
    one[0][0] = 4;
    EXPECT_NEAR(score_entropy(one), std::log(2) / std::log(100), 1e-12);
}

TEST(Cake, ScoresByMeanAndVarianceOfTheWindow)
{
    auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4)}}, {{1, 1, 1, 1}}, 1, 2);
    layer.q_window[0][0].fill_(0); // the first of two queries attends alike to the three entries it sees
    // columns 0 and 1: 1/3 and 1/10; 1/3 and 2/10. Unbiased variance of two numbers: half their difference squared.
    const auto first = (1.0 / 3 + 0.1) / 2 + 200 * std::pow(1.0 / 3 - 0.1, 2) / 2;
    const auto second = (1.0 / 3 + 0.2) / 2 + 200 * std::pow(1.0 / 3 - 0.2, 2) / 2;
    const auto policy = parse_policy("cake:window=2,pool=none").make();
    const auto result = policy->score(LayerInputs(layer, 2));
    EXPECT_NEAR(result.entries[0][0].item<float>(), first, 1e-5);
    EXPECT_NEAR(result.entries[0][1].item<float>(), second, 1e-5);
    const auto entropy = -(2.0 / 3 * std::log(1.0 / 3) + 0.1 * std::log(0.1) + 0.2 * std::log(0.2));
    const auto variance = std::pow(1.0 / 3 - 0.1, 2) / 2 + std::pow(1.0 / 3 - 0.2, 2) / 2;
    EXPECT_NEAR(result.weight, entropy * variance, 1e-7);
    const auto tempered = parse_policy("cake:window=2,tau1=2,tau2=0.5").make()->score(LayerInputs(layer, 2));
    EXPECT_NEAR(tempered.weight, std::sqrt(entropy) * variance * variance, 1e-8);
}

TEST(Policies, DoNotSeeTheEvaluationSteps)
{
    auto layer = synthesize_layer(small_options(), 0);
    auto other = layer;
    for (auto* tensor : {&other.q_eval, &other.k_eval, &other.v_eval, &other.attn_out, &other.resid_pre}) {
        *tensor = at::full_like(*tensor, 3.25);
    }
    for (const auto& spec : default_policies()) {
        const auto policy = spec.make();
        const auto a = policy->score(LayerInputs(layer, 40));
        const auto b = policy->score(LayerInputs(other, 40));
        EXPECT_TRUE(at::equal(a.entries, b.entries)) << spec.canonical;
        EXPECT_EQ(a.weight, b.weight) << spec.canonical;
    }
}

} // namespace
} // namespace lava
