#include "replay/losses/loss.h"

#include "model/decoder.h"
#include "tests/replay/devices.h"
#include "tests/replay/naive_decoder.h"
#include "tests/replay/story_trace.h"
#include "tests/temporary_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace lava {
namespace {

using testing::NaiveDecoder;
using testing::record_story;
using testing::story_model;
using testing::story_tokens;

/// Attention output y [T, hidden_size] in float64 of the recorded queries over what is kept, [num_kv_heads, seq_len].
at::Tensor attention_output(const LayerView& layer, const at::Tensor& kept)
{
    const auto group = layer.shape.group_size(), n = layer.seq_len, t = layer.eval_len;
    const auto seen = at::cat({at::zeros({t, n}, at::kBool), at::ones({t, t}, at::kBool).triu(1)}, 1); // the future
    std::vector<at::Tensor> z;
    for (std::int64_t head = 0; head < layer.shape.num_heads; ++head) {
        const auto kv = head / group;
        const auto k = at::cat({layer.k[kv], layer.k_eval[kv]}).to(at::kDouble);
        const auto v = at::cat({layer.v[kv], layer.v_eval[kv]}).to(at::kDouble);
        const auto evicted = at::cat({kept[kv].logical_not(), at::zeros({t}, at::kBool)}).unsqueeze(0);
        const auto scores
            = at::mm(layer.q_eval[head].to(at::kDouble), k.t()) / std::sqrt(static_cast<double>(layer.shape.head_dim));
        z.push_back(at::mm(at::softmax(scores.masked_fill(seen.logical_or(evicted), -INFINITY), 1), v));
    }
    return at::mm(at::cat(z, 1), layer.w_o.to(at::kDouble).t());
}

/// Checks loss 4 of a layer when each head keeps `count` entries of a ranking.
void expect_layer_output(
    const Trace& trace, const Decoder& decoder, std::int64_t layer, std::int64_t count, const Device& device)
{
    const auto view = trace.layer(layer);
    const auto heads = view.shape.num_kv_heads;
    const auto everything = at::ones({heads, view.seq_len}, at::kBool);
    std::vector<std::uint32_t> ranking;
    auto kept = at::zeros({heads, view.seq_len}, at::kBool);
    for (std::int64_t head = 0; head < heads; ++head) {
        std::vector<std::uint32_t> of_head(story_tokens);
        std::iota(of_head.begin(), of_head.end(), 0U);
        std::ranges::rotate(of_head, of_head.begin() + 11 * (head + 1));
        for (std::int64_t i = 0; i < count; ++i)
            kept[head][of_head[static_cast<std::size_t>(i)]] = true;
        ranking.insert(ranking.end(), of_head.begin(), of_head.end());
    }
    const LayerAttention attention(view, 1, &decoder, device);
    const auto losses = attention.losses(ranking, std::vector<std::int64_t>(static_cast<std::size_t>(heads), count));

    const Checkpoint checkpoint(story_model);
    const NaiveDecoder naive(trace, checkpoint, kept);
    const auto change = attention_output(view, everything) - attention_output(view, kept);
    for (std::int64_t step = 0; step < view.eval_len; ++step) {
        const auto at = static_cast<std::size_t>(step);
        const auto mid = view.resid_mid[step].to(at::kDouble);
        const auto x = naive.layer_output(layer, mid);
        const auto difference = x - naive.layer_output(layer, mid - change[step]);
        const auto l1 = difference.abs().sum().item<double>(), l2 = difference.norm().item<double>();
        EXPECT_NEAR(losses.layer_out_l1[at], l1, 3e-5 * l1) << "layer " << layer << ", step " << step << ", " << count;
        EXPECT_NEAR(losses.layer_out_l2[at], l2, 3e-5 * l2) << "layer " << layer << ", step " << step << ", " << count;
        EXPECT_NEAR(attention.norms().layer_out_l2[at], x.norm().item<double>(), 1e-5 * x.norm().item<double>());
    }
}

class LayerOutput : public testing::OnDevice
{ };

TEST_P(LayerOutput, LossIsWhatTheDefinitionSaysHoweverLittleIsEvicted)
{
    const TemporaryFolder folder;
    record_story(folder / "story.h5");
    const Trace trace(folder / "story.h5");
    const Decoder decoder(Checkpoint(story_model), {.device = "cpu", .dtype = "float32"});
    for (const std::int64_t count : {0, 20, 75, 140, 149}) {
        expect_layer_output(trace, decoder, 0, count, device());
        expect_layer_output(trace, decoder, 3, count, device());
    }
}

TEST_P(LayerOutput, NothingEvictedIsNoLoss)
{
    const TemporaryFolder folder;
    record_story(folder / "story.h5");
    const Trace trace(folder / "story.h5");
    const Decoder decoder(Checkpoint(story_model), {.device = "cpu", .dtype = "float32"});
    const auto view = trace.layer(2);
    const auto heads = static_cast<std::size_t>(view.shape.num_kv_heads);
    std::vector<std::uint32_t> ranking(heads * story_tokens);
    for (std::size_t i = 0; i < ranking.size(); ++i)
        ranking[i] = static_cast<std::uint32_t>(i % story_tokens);
    const LayerAttention attention(view, 1, &decoder, device());
    for (const auto loss : attention.losses(ranking, std::vector<std::int64_t>(heads, story_tokens)).layer_out_l1)
        EXPECT_EQ(loss, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, LayerOutput, ::testing::Values("cpu", "emulated", "cuda"));

} // namespace
} // namespace lava
