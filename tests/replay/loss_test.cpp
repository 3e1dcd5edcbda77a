#include "replay/losses/loss.h"

#include "compare_losses.h"
#include "devices.h"
#include "replay/losses/reference_loss.h"
#include "synthetic.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lava {
namespace {

using testing::expect_equal;
using testing::mask_of;
using testing::random_ranking;
using testing::relative_difference;
using testing::small_options;

/// On this processor, and by what does the same for it.
class Losses : public testing::OnDevice
{
protected:
    LayerAttention attention(const LayerView& layer) const { return LayerAttention(layer, 1, nullptr, device()); }
    void expect_exact_without_entry_17(double logit) const;
};

// Head counts of every kind: unequal, repeated, empty, one short of all, all.
const std::vector<std::int64_t> any_counts{0, 0, 1, 200, 13, 90, 90, 13, 13, 90, 199, 200, 200, 199, 199, 199};

TEST_P(Losses, EqualTheNaiveEvaluationInFloat64AtAnyHeadCounts)
{
    for (std::int64_t index = 0; index < 3; ++index) {
        const auto layer = synthesize_layer(small_options(), index);
        const auto ranking = random_ranking(layer, static_cast<unsigned>(index));
        const auto losses = attention(layer).losses(ranking, any_counts);
        for (std::size_t set = 0; set < any_counts.size() / 2; ++set) {
            const auto expected = reference_losses(layer, mask_of(layer, ranking, any_counts.data() + 2 * set));
            expect_equal(losses, set, expected, 1e-5);
        }
    }
}

TEST_P(Losses, OfAFullCacheAreExactlyZero)
{
    const auto layer = synthesize_layer(small_options(), 0);
    const auto losses = attention(layer).losses(random_ranking(layer, 3), std::vector<std::int64_t>{200, 200});
    for (const auto* values : {&losses.attn_out_l1, &losses.attn_out_l2, &losses.bound_lava}) {
        EXPECT_EQ(*std::max_element(values->begin(), values->end()), 0.0);
    }
    EXPECT_EQ(*std::max_element(losses.head_output_l1.begin(), losses.head_output_l1.end()), 0.0F);
}

TEST_P(Losses, HeadAttentionLossIsTwiceTheEvictedMass)
{
    const auto layer = synthesize_layer(small_options(), 1);
    const auto ranking = random_ranking(layer, 5);
    const std::vector<std::int64_t> counts{50, 120};
    const auto found = attention(layer).losses(ranking, counts).head_l1;
    // ||A - Â||_1 by its definition, both patterns written out
    const auto expected = reference_losses(layer, mask_of(layer, ranking, counts.data())).head_l1;
    EXPECT_LE(relative_difference(found.data(), expected), 1e-6);
}

// `logit`: of the entry that is evicted first
void Losses::expect_exact_without_entry_17(double logit) const
{
    auto layer = synthesize_layer(small_options(), 0);
    const auto direction
        = layer.k.select(1, 17) / layer.k.select(1, 17).norm(2, {-1}, true); // [num_kv_heads, head_dim]
    layer.k.select(1, 17).copy_(direction * 10);
    const auto strength = logit / 10 * std::sqrt(static_cast<double>(layer.shape.head_dim));
    layer.q_eval.copy_((direction * strength).repeat_interleave(3, 0).unsqueeze(1).expand_as(layer.q_eval));
    std::vector<std::uint32_t> ranking = random_ranking(layer, 1);
    for (const std::int64_t head : {0, 1}) { // evicted first
        auto begin = ranking.begin() + head * 200;
        std::iter_swap(std::find(begin, begin + 200, 17U), begin + 199);
    }
    const std::vector<std::int64_t> counts{150, 199};
    const auto losses = attention(layer).losses(ranking, counts);
    expect_equal(losses, 0, reference_losses(layer, mask_of(layer, ranking, counts.data())), 1e-5);
}

TEST_P(Losses, StayExactWhereAttentionLiesWhollyOnWhatIsEvicted)
{
    expect_exact_without_entry_17(10); // what is kept has 1e-4 of the attention,
    expect_exact_without_entry_17(30); // 1e-12,
    expect_exact_without_entry_17(750); // nothing in fp32
}

TEST_P(Losses, BoundsFindTheLargestProjectionThroughAWOOfRankOne)
{
    auto layer = synthesize_layer(small_options(), 0);
    const auto inputs = layer.w_o.size(1);
    const auto reads = at::zeros({inputs});
    reads.index_put_({at::arange(0, inputs, layer.shape.head_dim)}, at::ones({1})); // the first entry of each head
    layer.w_o = at::outer(at::linspace(1, 2, layer.w_o.size(0)), reads).contiguous();
    layer.v.mul_(1000).select(2, 0).copy_(at::randn({2, 200})); // nearly all of a value is lost
    const std::vector<std::int64_t> counts{60, 60};
    const auto ranking = random_ranking(layer, 4);
    const auto losses = attention(layer).losses(ranking, counts);
    expect_equal(losses, 0, reference_losses(layer, mask_of(layer, ranking, counts.data())), 1e-5);
}

TEST_P(Losses, NeverExceedTheirBounds)
{
    for (std::int64_t index = 0; index < 3; ++index) {
        const auto layer = synthesize_layer(small_options(), index);
        const auto losses = attention(layer).losses(random_ranking(layer, 9), any_counts);
        for (std::size_t i = 0; i < losses.attn_out_l1.size(); ++i) {
            EXPECT_LE(losses.attn_out_l1[i], losses.bound_projected[i] * (1 + 1e-6));
            EXPECT_LE(losses.bound_projected[i], losses.bound_adakv[i] * (1 + 1e-6));
            EXPECT_LE(losses.attn_out_l1[i], losses.bound_lava[i] * (1 + 1e-6));
        }
    }
}

TEST_P(Losses, BoundsCountDecodeEntriesToo)
{
    auto layer = synthesize_layer(small_options(), 0);
    layer.v_eval.select(1, 2).mul_(50); // the third decode entry is the largest value by far
    const std::vector<std::int64_t> counts{60, 60};
    const auto ranking = random_ranking(layer, 2);
    const auto losses = attention(layer).losses(ranking, counts);
    expect_equal(losses, 0, reference_losses(layer, mask_of(layer, ranking, counts.data())), 1e-5);
}

TEST_P(Losses, HaveTheNormsOfTheNaiveEvaluation)
{
    auto layer = synthesize_layer(small_options(), 2);
    layer.b_o = at::linspace(-1, 1, 48); // a bias counts in the norm
    const LayerAttention found = attention(layer);
    const auto expected = reference_norms(layer);
    EXPECT_LE(relative_difference(found.norms().head_output_l1.data(), expected.head_output_l1), 1e-5);
    EXPECT_LE(relative_difference(found.norms().head_output_l2.data(), expected.head_output_l2), 1e-5);
    EXPECT_LE(relative_difference(found.norms().attn_out_l1.data(), expected.attn_out_l1), 1e-5);
    EXPECT_LE(relative_difference(found.norms().attn_out_l2.data(), expected.attn_out_l2), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Devices, Losses, ::testing::ValuesIn(testing::device_names()));

} // namespace
} // namespace lava
