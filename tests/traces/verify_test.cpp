#include "traces/verify.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/layer_datasets.h"
#include "traces/synthesize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lava::test {

namespace {

SynthesisOptions shape_of(std::int64_t heads, std::int64_t kv_heads)
{
    SynthesisOptions options;
    options.shape = {.num_layers = 1, .num_heads = heads, .num_kv_heads = kv_heads, .head_dim = 8, .hidden_size = 10};
    options.seq_len = 30;
    options.eval_len = 4;
    options.window = 5;
    return options;
}

/// softmax(q K^T / sqrt(d)) V of one head and step, over the prompt and the steps up to this one, or the last of them
/// where there is a sliding window; in double.
std::vector<double> attend(const LayerView& layer, std::int64_t head, std::int64_t step)
{
    const auto kv_head = head / layer.shape.group_size();
    const auto entry = [&](const at::Tensor& prompt, const at::Tensor& steps, std::int64_t i) {
        return i < layer.seq_len ? prompt[kv_head][i] : steps[kv_head][i - layer.seq_len];
    };
    std::vector<double> output(static_cast<std::size_t>(layer.shape.head_dim));
    double sum = 0;
    const auto seen = layer.sliding_window > 0 ? layer.sliding_window : layer.seq_len + layer.eval_len;
    for (std::int64_t i = 0; i <= layer.seq_len + step; ++i) {
        if (layer.seq_len + step - i >= seen)
            continue;
        double score = 0;
        for (std::int64_t c = 0; c < layer.shape.head_dim; ++c)
            score += layer.q_eval[head][step][c].item<double>() * entry(layer.k, layer.k_eval, i)[c].item<double>();
        const auto weight = std::exp(score / std::sqrt(static_cast<double>(layer.shape.head_dim)));
        sum += weight;
        for (std::size_t c = 0; c < output.size(); ++c)
            output[c] += weight * entry(layer.v, layer.v_eval, i)[static_cast<std::int64_t>(c)].item<double>();
    }
    for (auto& value : output)
        value /= sum;
    return output;
}

/// attn_out[step] by definition.
std::vector<double> reference(const LayerView& layer, std::int64_t step)
{
    std::vector<double> out(static_cast<std::size_t>(layer.shape.hidden_size));
    for (std::int64_t head = 0; head < layer.shape.num_heads; ++head) {
        const auto z = attend(layer, head, step);
        for (std::size_t row = 0; row < out.size(); ++row) {
            for (std::size_t c = 0; c < z.size(); ++c) {
                out[row] += z[c]
                    * layer
                          .w_o[static_cast<std::int64_t>(row)]
                              [head * layer.shape.head_dim + static_cast<std::int64_t>(c)]
                          .item<double>();
            }
        }
    }
    for (std::size_t row = 0; row < out.size(); ++row)
        out[row] += layer.b_o.defined() ? layer.b_o[static_cast<std::int64_t>(row)].item<double>() : 0;
    return out;
}

TEST(Verify, RecomputesTheDefinition)
{
    for (const auto& [heads, kv_heads] : {std::pair{4, 4}, {6, 2}, {4, 1}}) {
        auto layer = synthesize_layer(shape_of(heads, kv_heads), 0);
        layer.b_o = at::arange(10, at::kFloat) * 0.1;
        for (const std::int64_t window : {0, 2, 12, 34}) {
            layer.sliding_window = window;
            const auto found = recompute_attn_out(layer);
            for (std::int64_t step = 0; step < 4; ++step) {
                const auto expected = reference(layer, step);
                for (std::int64_t row = 0; row < 10; ++row) // float32 sums of 34 terms of order 1
                    EXPECT_NEAR(found[step][row].item<double>(), expected[static_cast<std::size_t>(row)], 5e-6)
                        << heads << '/' << kv_heads << " window " << window << " step " << step << " row " << row;
            }
        }
    }
}

TEST(Verify, PassesASoundLayerOfAnyStoreTypeAndNoticesAChangedOne)
{
    for (const auto store : {StoreType::f32, StoreType::f16, StoreType::bf16}) {
        auto options = shape_of(4, 2);
        options.store = store;
        auto layer = synthesize_layer(options, 0);
        EXPECT_TRUE(verify_layer(layer).holds());
        layer.v = layer.v.clone();
        layer.v[1].mul_(1.3);
        EXPECT_FALSE(verify_layer(layer).holds());
    }
}

at::Tensor rounded(const at::Tensor& tensor, at::ScalarType type)
{
    return tensor.to(type).to(at::kFloat);
}

TEST(Verify, AllowsWhatRoundingDoesAndNoMore)
{
    at::manual_seed(1);
    for (const auto store : {StoreType::f16, StoreType::bf16}) {
        const auto type = store == StoreType::f16 ? at::kHalf : at::kBFloat16;
        for (const double sharpness : {0.3, 1.0, 4.0}) { // of the attention: rounding moves a sharp one most
            auto options = shape_of(6, 2);
            options.shape.head_dim = 32;
            options.shape.hidden_size = 64;
            options.seq_len = 300;
            options.eval_len = 8;
            auto layer = synthesize_layer(options, 0); // float32
            layer.q_eval = layer.q_eval * sharpness;
            layer.attn_out = recompute_attn_out(layer);
            for (auto* tensor :
                {&layer.k, &layer.v, &layer.q_eval, &layer.k_eval, &layer.v_eval, &layer.w_o, &layer.attn_out})
                *tensor = rounded(*tensor, type);
            layer.roundoff = layer.w_o_roundoff = roundoff_of(store);
            const auto sound = verify_layer(layer);
            EXPECT_TRUE(sound.holds()) << sharpness << ": " << sound.deviation << " against " << sound.tolerance;
            EXPECT_LT(sound.tolerance, 60 * roundoff_of(store)) << sharpness;
            auto noisy = layer;
            noisy.v = layer.v * (1 + 0.1 * at::randn_like(layer.v));
            EXPECT_FALSE(verify_layer(noisy).holds()) << sharpness;
            layer.roundoff = float_roundoff; // only W_O is coarse
            EXPECT_LT(verify_layer(layer).tolerance, sound.tolerance) << sharpness;
            if (sharpness >= 1) { // under a flat attention, rounding W_O may do as much as all else
                EXPECT_FALSE(verify_layer(layer).holds()) << sharpness;
            }
        }
    }
}

TEST(Verify, MeasuresTheWorstStepRelativeToItsNorm)
{
    auto layer = synthesize_layer(shape_of(4, 2), 0);
    layer.attn_out = recompute_attn_out(layer);
    layer.attn_out[2].mul_(1.25); // off by a fifth of what is recorded
    EXPECT_NEAR(verify_layer(layer).worst_step, 0.2, 1e-6);
}

TEST(Verify, GivesTheSameBytesForAnyNumberOfThreads)
{
    auto options = shape_of(14, 7);
    options.seq_len = 3001;
    options.shape.head_dim = 64;
    options.shape.hidden_size = 300;
    const auto layer = synthesize_layer(options, 0);
    const auto before = at::get_num_threads();
    at::set_num_threads(1);
    const auto one = recompute_attn_out(layer);
    at::set_num_threads(4);
    const auto four = recompute_attn_out(layer);
    EXPECT_EQ(at::get_num_threads(), 4);
    at::set_num_threads(before);
    EXPECT_TRUE(one.equal(four));
}

TEST(Verify, SaysWhatIsMissing)
{
    auto layer = synthesize_layer(shape_of(4, 2), 0);
    layer.attn_out = at::Tensor();
    EXPECT_EQ(error_of([&] { (void)verify_layer(layer); }),
        "layer 0 has no attn_out: its attention output cannot be recomputed and compared");
}

} // namespace

} // namespace lava::test
