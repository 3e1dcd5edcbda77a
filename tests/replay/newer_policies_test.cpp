// Policies of 2025 and 2026 as kvpress 0.5.5 and their authors' code have them, on layers small enough to work out by
// hand.

#include "analysis/npy.h"
#include "base/error.h"
#include "replay/policies/wrapper.h"
#include "replay/retention.h"
#include "replay/scores/entropy_chunks.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"
#include "worked_layer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <numeric>

namespace lava {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::layer_with_keys;
using testing::ln;
using testing::rounded;
using testing::scores;
using testing::small_options;
using ::testing::ThrowsMessage;
using testing::to_floats;

TEST(Cur, MultipliesSharesOfTheirBlocks)
{
    // squares 1 4 | 1 4 | 9 and 1 1 | 4 4 | 9; shares of the blocks .2 .8 | .2 .8 | 1 and .5 .5 | .5 .5 | 1
    const auto layer = layer_with_keys({{1, -2, 1, 2, 3}}, {{1, 1, 2, -2, 3}}, 1, 1);
    EXPECT_THAT(rounded(scores("cur:sinks=0,block=2", layer)), ElementsAre(0.05F, 0.2F, 0.05F, 0.2F, 0.5F));
    EXPECT_THAT(rounded(scores("cur:sinks=2,block=2", layer)), ElementsAre(1, 1, 0.05F, 0.2F, 0.5F));
    EXPECT_THAT(rounded(scores("cur:sinks=0,block=2,leverage=key", layer)),
        ElementsAre(0.0667F, 0.2667F, 0.0667F, 0.2667F, 0.3333F));
    EXPECT_THAT(rounded(scores("cur:sinks=0,local=off,leverage=value", layer)),
        ElementsAre(0.0526F, 0.0526F, 0.2105F, 0.2105F, 0.4737F)); // of 19
    EXPECT_THAT(rounded(scores("cur:sinks=0,local=off,leverage=kv_avg", layer)),
        ElementsAre(0.0526F, 0.1316F, 0.1316F, 0.2105F, 0.4737F)); // 1 2.5 2.5 4 9
}

TEST(Cur, BlocksOfZerosScoreNothing)
{
    const auto layer = layer_with_keys({{0, 0, 1, 1}}, {{1, 1, 1, 1}}, 1, 1);
    EXPECT_THAT(rounded(scores("cur:sinks=0,block=2", layer)), ElementsAre(0, 0, 0.5F, 0.5F));
}

TEST(CapKv, ScoresValuesByTheirLeverage)
{
    auto layer = layer_with_keys({{9, 9, 9, 9, 2, -1, 3}}, {{9, 9, 9, 9, 1, 2, 3}}, 1, 1);
    layer.q_pre_rope_mean = at::ones({1, 1});
    // The anchor aligns with keys 2 and 3, against -1: weights 1, exp(-2 tau) = 1/2, 1; A = 1 + 1 + 4/2 + 9 = 13.
    const auto tau = std::to_string(std::log(2.0) / 2);
    const auto entries = rounded(scores("capkv:tau=" + tau, layer));
    EXPECT_THAT(std::vector<float>(entries.begin() + 4, entries.end()), ElementsAre(0.0769F, 0.1538F, 0.6923F));
    for (int sink = 0; sink < 4; ++sink) { // the first four rank above all
        EXPECT_FLOAT_EQ(entries[static_cast<std::size_t>(sink)], 1.6923F);
    }
}

TEST(CapKv, TurnsTheAnchorToWhereTheNextTokensWillBe)
{
    // One pair of numbers that turns a quarter per position: of positions 4 and 5, the mean of no turn and a quarter.
    auto layer = layer_with_keys({{0}}, {{0}}, 1, 1);
    layer.seq_len = 5;
    layer.shape.head_dim = 2;
    layer.k = layer.v = at::zeros({1, 5, 2});
    layer.k[0][4] = at::tensor({1.0F, 1.0F});
    layer.v[0][4] = at::tensor({1.0F, 0.0F});
    layer.q_pre_rope_mean = at::tensor({1.0F, 0.0F}).view({1, 2});
    const RotaryEmbedding rope{{std::acos(-1.0) / 2}, 1};
    const auto rotation = mean_rotation(rope, 2, 4, 2);
    EXPECT_TRUE(at::allclose(rotation, at::tensor({0.5F, -0.5F, 0.5F, 0.5F}).view({2, 2}), 0, 1e-6));
    EXPECT_TRUE(at::allclose(mean_rotation({{0.3}, 2}, 3, 0, 1), at::diag(at::tensor({2.0F, 2.0F, 1.0F}))));
    // One entry: its weight is 1 whatever the anchor, and v^T (I + v v^T)^-1 v = 1/2.
    const auto entries = parse_policy("capkv:future=2").make()->score(LayerInputs(layer, 0, rope)).entries;
    EXPECT_NEAR(entries[0][4].item<float>(), 0.5, 1e-5);
}

TEST(EntropyChunks, TakeOnlyTheBestOfASpikyChunk)
{
    // means 5 4 2 .75, median 2; entropies .47 1 1 .92, median .92: the first chunk alone is important and spiky
    const auto order = entropy_gated_order(at::tensor({9.0F, 1.0F, 4.0F, 4.0F, 2.0F, 2.0F, 1.0F, 0.5F}).view({1, 8}),
        /*chunk=*/2, /*spiky=*/1);
    EXPECT_THAT(to_floats(order), ElementsAre(8, 1, 7, 6, 5, 4, 3, 2));
}

TEST(EntropyChunks, SumOverHeadsAndEndWithAPartialChunk)
{
    // sums 3 3 | 5 5 | 7: the last chunk, of one token, is the best, and its entropy 0 is below the median of 1
    const auto order = entropy_gated_order(
        at::tensor({1.0F, 2.0F, 1.0F, 3.0F, 3.0F, 2.0F, 1.0F, 4.0F, 2.0F, 4.0F}).view({2, 5}), 2, 1);
    EXPECT_THAT(to_floats(order), ElementsAre(2, 1, 4, 3, 5, 2, 1, 4, 3, 5));
}

TEST(EntropyChunks, NegativeScoresAreRaisedForTheEntropyAlone)
{
    // means -1.5 -3.5: all of chunk 0's mass lies on its first token after raising, so it is spiky
    const auto order = entropy_gated_order(at::tensor({-1.0F, -2.0F, -3.0F, -4.0F, 5.0F, 4.9F}).view({1, 6}), 2, 1);
    // entropies 0, 0, 1 (about): the lower median is 0, and nothing lies below it
    EXPECT_THAT(to_floats(order), ElementsAre(4, 3, 2, 1, 6, 5));
}

TEST(EntropyChunkKv, KeepsItsBasesWindowFirst)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    // snapkv: .075 .15 .225, and 1.225 for the window: chunks of 2 have means .1125 .725 1.225, none is cut
    EXPECT_THAT(
        scores("entropy-chunkkv:base=[snapkv:window=2,pool=none],chunk=2,spiky=1", layer), ElementsAre(1, 2, 3, 4, 5));
    EXPECT_THAT([] { parse_policy("entropy-chunkkv:chunk=4").make(); },
        ThrowsMessage<UsageError>("entropy-chunkkv: spiky: expected less than the chunk's 4 tokens, found 4"));
}

TEST(Dms, KeepsWhatScoresAtLeastTheThreshold)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    const auto policy = parse_policy("dms:base=[snapkv:window=2,pool=none],threshold=0.1,window=1").make();
    const auto result = policy->score(LayerInputs(layer, 2));
    // .075 .15 .225, and token 3 of the base's window, which scores the largest plus 1
    EXPECT_THAT(rounded(to_floats(result.entries)), ElementsAre(0.075F, 0.15F, 0.225F, 1.225F));
    const std::vector<RankedLayer> ranked{rank_layer(result, 5, 1)};
    const auto allocation = policy->allocate(ranked, {.shape = layer.shape, .seq_len = 5, .window = 1});
    EXPECT_THAT(allocation.retained, ElementsAre(3));
    EXPECT_TRUE(policy->ignores_budget());
}

// Two KV heads of one query head each. Window of one, attention to the prefix .1 .2 .3 and .4 .1 .1 (of totals of 10);
// values 1 1 3 and 3 1 1, W_O of ones.
LayerView defensive_layer()
{
    auto layer = layer_with_keys(
        {{ln(1), ln(2), ln(3), ln(4)}, {ln(4), ln(1), ln(1), ln(4)}}, {{1, 1, 3, 1}, {3, 1, 1, 1}}, 2, 1);
    layer.w_o = at::ones({1, 2});
    return layer;
}

TEST(DefensiveKv, WeighsTheWorstCaseByTheHeadsShareOfProjectedNorms)
{
    const auto layer = defensive_layer();
    // at least the head's mean of .2: .2 .2 .3 and .4 .2 .2; shares of the norms 1/4 1/2 3/4 and 3/4 1/2 1/4
    EXPECT_THAT(rounded(scores("defensivekv:window=1,kernel=1", layer)),
        ElementsAre(0.05F, 0.1F, 0.225F, 0.3F, 0.3F, 0.1F, 0.05F, 0.3F));
    // pooled over three: 1/10 2/10 1/6 (times 1/3 .. of .1 .2 .3 are .1 .2 .1667), rescaled to the mass of .6
    const auto pooled = rounded(scores("defensivekv:window=1,kernel=3", layer));
    EXPECT_NEAR(pooled[1], 0.5 * 0.6 * 0.2 / (0.1 + 0.2 + 1.0 / 6), 1e-4);
}

TEST(DefensiveKv, FirstStageTakesWhatCollectsTheThreshold)
{
    const auto layer = defensive_layer();
    BudgetRequest request{.shape = layer.shape, .seq_len = 4, .budget = 3};
    const auto at_budget = [&](const std::string& text) {
        const auto policy = parse_policy(text).make();
        return rounded(to_floats(policy->at_budget(policy->score(LayerInputs(layer, 1)), request).entries));
    };
    // Shares of the prefix: 1/2 1/3 1/6 from the right, 2/3 1/6 1/6. The released code lowers .9 by the mass of the
    // last prefix column, (.3 + .1) / 2, to .7: reached by the second entry of each head, so that one comes before it.
    // At most int(3 * 3 / 4 - 1) = 1.
    EXPECT_THAT(
        at_budget("defensivekv:window=1,kernel=1"), ElementsAre(0.05F, 0.1F, 0.3F, 0.3F, 0.3F, 0.1F, 0.05F, 0.3F));
    // The paper's mass is that of the window, .4: .8 becomes .4, which the first entry of each reaches.
    EXPECT_THAT(at_budget("defensivekv@paper:window=1,kernel=1,threshold=0.8"),
        ElementsAre(0.05F, 0.1F, 0.225F, 0.3F, 0.3F, 0.1F, 0.05F, 0.3F));
    request.budget = 2; // int(3 * 2 / 4 - 1) = 0
    EXPECT_THAT(
        at_budget("defensivekv:window=1,kernel=1"), ElementsAre(0.05F, 0.1F, 0.225F, 0.3F, 0.3F, 0.1F, 0.05F, 0.3F));
}

TEST(DefensiveKv, HeadsShareALayerAndLayersAModel)
{
    const auto rank = [](std::initializer_list<float> values) {
        return rank_layer({at::tensor(std::vector<float>(values)).view({2, 3})}, 3, 0);
    };
    // the second layer's best, its windows among them, score less than anything that the first could still keep
    const std::vector<RankedLayer> layers{rank({9, 8, 7, 6, 5, 4}), rank({3, 2, 1, 3, 2, 1})};
    const BudgetRequest request{
        .shape = {.num_layers = 2, .num_heads = 2, .num_kv_heads = 2}, .seq_len = 3, .budget = 2};
    EXPECT_THAT(parse_policy("defensivekv").make()->allocate(layers, request).retained, ElementsAre(3, 1, 2, 2));
    EXPECT_THAT(parse_policy("layer-defensivekv").make()->allocate(layers, request).retained, ElementsAre(3, 3, 1, 1));
}

TEST(DefensiveKv, CountsARatioInTheReleasedCodesOrder)
{
    // int(1000 * (1 - .8) * 3 * 2) = 1199, not 199 * 6 and not 1200
    const std::vector<RankedLayer> layers(2, rank_layer({at::rand({3, 1000})}, 1000, 0));
    const BudgetRequest request{
        .shape = {.num_layers = 2, .num_heads = 3, .num_kv_heads = 3}, .seq_len = 1000, .budget = 199, .ratio = 0.8};
    const auto total = [&](const char* name) {
        const auto retained = parse_policy(name).make()->allocate(layers, request).retained;
        return std::accumulate(retained.begin(), retained.end(), std::int64_t{0});
    };
    EXPECT_EQ(total("layer-defensivekv"), 1199);
    EXPECT_EQ(total("defensivekv"), 2 * 599);
}

class CurveFile : public ::testing::Test
{
protected:
    std::string write(const NpyArray& curves) const
    {
        write_npy(file_, curves);
        return "lu-kv:base=[snapkv:window=2,pool=none],sinks=1,file=" + file_.string();
    }

    TemporaryFolder folder_;
    std::filesystem::path file_ = folder_ / "curves,of=one layer.npy";
};

TEST_F(CurveFile, SaysWhatEachHeadKeeps)
{
    NpyArray curves{{99, 1, 2}, std::vector<double>(198, 0.5)};
    curves.values[59 * 2] = 0.9;
    curves.values[59 * 2 + 1] = 0.05;
    const auto policy = parse_policy(write(curves)).make();
    BudgetRequest request{.shape = {.num_layers = 1, .num_heads = 2, .num_kv_heads = 2}, .seq_len = 5, .budget = 2};
    // at 60 %: 5 * .1 and 5 * .95, in all 5: whole parts 0 and 4, the larger fraction gets the one that is missing
    const auto uneven = policy->allocate({}, request);
    EXPECT_THAT(uneven.granted, ElementsAre(0, 5));
    EXPECT_THAT(uneven.retained, ElementsAre(1, 5)); // none is left without
    request.budget = 3; // 40 %: 2.5 each, equal fractions go to the lower head
    EXPECT_THAT(policy->allocate({}, request).retained, ElementsAre(3, 2));
    request.budget = 5;
    EXPECT_THAT(policy->allocate({}, request).retained, ElementsAre(5, 5));
    request.shape.num_layers = 2;
    EXPECT_THAT([&] { policy->allocate({}, request); },
        ThrowsMessage<Error>(
            HasSubstr("expected curves [99, 2, 2] (the trace's layers and KV heads), found [99, 1, 2]")));
}

TEST_F(CurveFile, FirstAndLastTokensRankAboveTheBase)
{
    const auto layer = layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    EXPECT_THAT(rounded(scores(write({{99, 1, 1}, std::vector<double>(99, 0.5)}), layer)),
        ElementsAre(2.225F, 0.15F, 0.225F, 1.225F, 2.225F));
}

TEST_F(CurveFile, IsRefusedWhereItIsSomethingElse)
{
    const auto text = write({{98, 1, 1}, std::vector<double>(98, 0.5)});
    EXPECT_THAT([&] { parse_policy(text).make(); },
        ThrowsMessage<Error>(HasSubstr("expected curves [99, layers, KV heads], found an array [98, 1, 1]")));
}

TEST(Wrapper, RefusesBasesThatScoreNothing)
{
    EXPECT_THAT([] { parse_policy("dms:base=full,threshold=1").make(); },
        ThrowsMessage<UsageError>("base: expected a policy that scores entries, found full"));
    EXPECT_THAT([] { parse_policy("entropy-chunkkv:base=[dms:threshold=1]").make(); },
        ThrowsMessage<UsageError>(HasSubstr("base: expected a policy that scores entries, found dms")));
    EXPECT_THAT([] { parse_policy("entropy-chunkkv:base=[snapkv:protect=first:4]").make(); },
        ThrowsMessage<UsageError>(HasSubstr("base: expected protect= outside the brackets")));
}

TEST(Wrapper, AsksForWhatItsBaseReads)
{
    const auto policy = parse_policy("entropy-chunkkv:base=[h2o:window=3]").make();
    EXPECT_TRUE(policy->needs().observed_attention);
    EXPECT_EQ(policy->window(), 0);
    EXPECT_EQ(parse_policy("entropy-chunkkv").make()->query_rows(), 32);
}

} // namespace
} // namespace lava
