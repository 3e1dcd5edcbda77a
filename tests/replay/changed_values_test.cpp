// Policies that change the values of what they keep, and what that does to the losses.

#include "replay/losses/changed_values.h"

#include "replay/losses/reference_loss.h"
#include "replay/replay.h"
#include "replay/scores/merging.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"
#include "traces/trace.h"
#include "worked_layer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <filesystem>

namespace lava {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::layer_with_keys;
using testing::small_options;
using testing::to_floats;

const std::vector<std::uint32_t> ranking{0, 2, 1, 3}; // of a head with four entries
const std::vector<std::int64_t> two{2};

at::Tensor column(const std::vector<float>& values)
{
    return at::tensor(values).view({1, -1, 1});
}

TEST(Merging, FoldsIntoTheKeptEntryOfTheMostSimilarKey)
{
    const auto k = column({1, 2, -1, -3});
    const auto v = column({3, 1, 5, 5});
    // entry 1 points as entry 0 does: weight 1/(1 + 3); entry 3 as entry 2: 5/(5 + 5)
    const auto values = to_floats(merged_values(k, v, {ranking, two}, {}));
    EXPECT_NEAR(values[0], (3 + 0.25 * 1) / 1.25, 1e-5);
    EXPECT_NEAR(values[2], (5 + 0.5 * 5) / 1.5, 1e-5);
}

TEST(Merging, LeavesValuesAloneWhereKeysAreNotSimilar)
{
    const auto k = at::tensor({1.0F, 0.0F, 0.0F, 1.0F, 0.0F, -1.0F, 0.6F, 0.8F}).view({1, 4, 2});
    const auto v = at::tensor({1.0F, 0.0F, 1.0F, 0.0F, 1.0F, 0.0F, 1.0F, 0.0F}).view({1, 4, 2});
    const std::vector<std::uint32_t> order{0, 2, 1, 3}; // cosines of 1 and 3 with the nearest kept key: 0 and .6
    const auto merged = [&](const MergingRule& rule) {
        return to_floats(merged_values(k, v, {order, two}, rule).select(2, 0)); // v_0 stays 1 when merged with a 1
    };
    auto other = v.clone();
    other[0][3][0] = 3;
    const auto weight = 0.6 * 3 / 4;
    const auto with = to_floats(merged_values(k, other, {order, two}, {.similarity = 0.5}));
    EXPECT_NEAR(with[0], (1 + weight * 3) / (1 + weight), 1e-5);
    EXPECT_NEAR(to_floats(merged_values(k, other, {order, two}, {.similarity = 0.7}))[0], 1, 0);
    // the more similar half of the two
    EXPECT_NEAR(to_floats(merged_values(k, other, {order, two}, {.fraction = 0.5}))[0], with[0], 0);
    EXPECT_THAT(merged({}), Each(1));
}

TEST(Cam, SpreadsOverTheNextKeptEntriesByTheirAttention)
{
    const std::vector<std::uint32_t> order{3, 0, 2, 1}; // entry 1 is evicted
    const std::vector<std::int64_t> three{3};
    const auto v = column({8, 4, 1, 2});
    const auto attention = at::tensor({9.0F, 0.2F, 0.3F, 0.5F}).view({1, 4});
    // half the mean attention of entries 2 and 3: half of the value, a quarter to each
    EXPECT_THAT(to_floats(cam_values(v, attention, {order, three}, {.sample = false}, 0)), ElementsAre(8, 4, 2, 3));
    // one target, whose attention is .3
    const auto one = to_floats(cam_values(v, attention, {order, three}, {.merge_budget = 1, .sample = false}, 0));
    EXPECT_NEAR(one[2], 1 + 4 * 0.2 / 0.3, 1e-5);
    EXPECT_EQ(one[3], 2);
}

TEST(Cam, DrawsWholeMergesAsOftenAsTheShareSays)
{
    const std::int64_t n = 4001; // the last one is kept, the others fold into it
    std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
        order[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(n - 1 - i);
    }
    const std::vector<std::int64_t> one{1};
    auto attention = at::full({1, n}, 0.25F);
    attention[0][n - 1] = 1;
    const auto v = at::ones({1, n, 1});
    const auto merged = [&](std::uint64_t seed) {
        return cam_values(v, attention, {order, one}, {.seed = seed}, 0)[0][n - 1][0].item<float>() - 1;
    };
    EXPECT_NEAR(merged(1), 1000, 5 * 27.4); // sqrt(4000 * .25 * .75) = 27.4
    EXPECT_EQ(merged(1), merged(1));
    EXPECT_NE(merged(1), merged(2));
}

TEST(ChangedValues, UnchangedOnesLoseWhatEvictionLoses)
{
    const auto layer = synthesize_layer(small_options(), 1);
    std::vector<std::uint32_t> order;
    auto kept = at::zeros({2, 200}, at::kBool);
    for (std::uint32_t head = 0; head < 2; ++head) {
        for (std::uint32_t i = 0; i < 200; ++i) {
            order.push_back((i * 7 + head) % 200);
            kept[head][order.back()] = i < 60 + 40 * head;
        }
    }
    const std::vector<std::int64_t> counts{60, 100};
    const auto losses = ChangedValues(layer).losses({order, counts}, layer.v);
    const auto expected = reference_losses(layer, kept);
    for (std::size_t i = 0; i < expected.head_l1.size(); ++i) {
        EXPECT_NEAR(losses.head_l1[i], expected.head_l1[i], 1e-6);
        EXPECT_NEAR(losses.head_output_l1[i], expected.head_output_l1[i], 1e-5 * expected.head_output_l1[i]);
        EXPECT_NEAR(losses.head_output_l2[i], expected.head_output_l2[i], 1e-5 * expected.head_output_l2[i]);
    }
    for (std::size_t i = 0; i < expected.attn_out_l1.size(); ++i) {
        EXPECT_NEAR(losses.attn_out_l1[i], expected.attn_out_l1[i], 1e-5 * expected.attn_out_l1[i]);
        EXPECT_NEAR(losses.attn_out_l2[i], expected.attn_out_l2[i], 1e-5 * expected.attn_out_l2[i]);
    }
    EXPECT_TRUE(losses.bound_lava.empty());
}

TEST(ChangedValues, LoseTheirDifferenceWhereAllIsKept)
{
    auto layer = synthesize_layer(small_options(), 0);
    layer.b_o = at::Tensor();
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < 400; ++i) {
        order.push_back(i % 200);
    }
    const std::vector<std::int64_t> all{200, 200};
    const auto values = layer.v + 1e-4 * layer.v.roll(3, 1);
    const auto losses = ChangedValues(layer).losses({order, all}, values);
    auto difference = layer;
    difference.v = layer.v - values;
    difference.v_eval = at::zeros_like(layer.v_eval);
    const auto expected = reference_norms(difference); // A (v - v')
    for (std::size_t i = 0; i < expected.attn_out_l1.size(); ++i) {
        EXPECT_NEAR(losses.attn_out_l1[i], expected.attn_out_l1[i], 1e-5 * expected.attn_out_l1[i]);
    }
    EXPECT_THAT(losses.head_l1, Each(0));
    const auto none = ChangedValues(layer).losses({order, all}, layer.v);
    EXPECT_THAT(none.attn_out_l1, Each(0));
}

TEST(ChangedValues, ReachTheReportWithoutBounds)
{
    const TemporaryFolder folder;
    synthesize_trace(small_options(), folder / "trace.h5");
    ReplayOptions options;
    options.policies = {parse_policy("snapkv"), parse_policy("merging"), parse_policy("cam:sample=off")};
    options.budgets = "60,120,200";
    const auto report = replay(Trace(folder / "trace.h5"), options);
    options.threads = 3;
    const auto again = replay(Trace(folder / "trace.h5"), options);

    const auto& base = report.policies[0];
    const auto& merging = report.policies[1];
    EXPECT_EQ(merging.counts, base.counts);
    ASSERT_EQ(merging.attn_out_l1.size(), base.attn_out_l1.size());
    std::size_t changed = 0;
    for (std::size_t i = 0; i < base.head_l1.size(); ++i) { // the same sets
        EXPECT_NEAR(merging.head_l1[i], base.head_l1[i], 1e-5);
        changed += merging.head_output_l1[i] != base.head_output_l1[i];
    }
    EXPECT_GT(changed, base.head_l1.size() / 2);
    for (std::size_t policy = 1; policy < 3; ++policy) {
        const auto& replayed = report.policies[policy];
        EXPECT_TRUE(replayed.bound_lava.empty() && replayed.bound_adakv.empty() && replayed.bound_projected.empty());
        EXPECT_EQ(replayed.attn_out_l1, again.policies[policy].attn_out_l1) << "with three threads";
        const std::vector<double> whole(replayed.attn_out_l1.end() - 15, replayed.attn_out_l1.end());
        EXPECT_THAT(whole, Each(0)) << replayed.policy; // the last budget keeps all
    }
    EXPECT_FALSE(base.bound_lava.empty());
}

} // namespace
} // namespace lava
