// Policies of 2025 and 2026 as kvpress 0.5.5 and their authors' code have them, on layers small enough to work out by
// hand.

#include "replay/policies/wrapper.h"
#include "replay/retention.h"
#include "replay/scores/entropy_chunks.h"
#include "synthetic.h"
#include "traces/error.h"
#include "worked_layer.h"

#include <gmock/gmock.h>

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
        scores("entropy-chunkkv:base=[snapkv:window=2,pool=none],chunk=2,spiky=1", layer), ElementsAre(2, 1, 3, 4, 5));
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
