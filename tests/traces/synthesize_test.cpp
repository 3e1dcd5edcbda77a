#include "traces/synthesize.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/layer_datasets.h"
#include "traces/trace.h"
#include "traces/verify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace lava::test {

namespace {

SynthesisOptions medium()
{
    SynthesisOptions options;
    options.shape = {.num_layers = 3, .num_heads = 6, .num_kv_heads = 2, .head_dim = 16, .hidden_size = 24};
    options.seq_len = 256;
    options.eval_len = 4;
    options.window = 16;
    return options;
}

bool same(const LayerView& a, const LayerView& b)
{
    for (const auto& dataset : layer_datasets()) {
        const auto& left = a.*dataset.tensor;
        const auto& right = b.*dataset.tensor;
        if (left.defined() != right.defined() || (left.defined() && !left.equal(right)))
            return false;
    }
    return true;
}

TEST(Synthesize, AFileGivesBackWhatWasGenerated)
{
    for (const auto store : {StoreType::f32, StoreType::f16, StoreType::bf16}) {
        const TemporaryFolder folder;
        auto options = medium();
        options.store = store;
        synthesize_trace(options, folder / "x.h5");
        const Trace trace(folder / "x.h5");
        EXPECT_EQ(trace.info().store_type, store);
        for (const std::int64_t layer : {0, 2})
            EXPECT_TRUE(same(trace.layer(layer), synthesize_layer(options, layer))) << layer;
        EXPECT_TRUE(verify_layer(trace.layer(1)).holds());
        EXPECT_EQ(trace.info().has_losses, synthesize_info(options).has_losses);
        EXPECT_EQ(trace.info().spans, synthesize_info(options).spans);
    }
}

TEST(Synthesize, AttendsWithinASlidingWindow)
{
    const TemporaryFolder folder;
    auto options = medium();
    options.sliding_window = 50;
    synthesize_trace(options, folder / "x.h5");
    const Trace trace(folder / "x.h5");
    EXPECT_EQ(trace.info().layer_windows, (std::vector<std::int64_t>{50, 50, 50}));
    auto layer = trace.layer(2);
    EXPECT_EQ(layer.sliding_window, 50);
    EXPECT_TRUE(verify_layer(layer).holds());
    EXPECT_LE(layer.observed_attention_off_diagonal.max().item<float>(), 49);
    layer.sliding_window = 51;
    EXPECT_FALSE(verify_layer(layer).holds());
    options.sliding_window = -1;
    EXPECT_THAT([&] { (void)synthesize_info(options); },
        ::testing::ThrowsMessage<Error>(::testing::HasSubstr("/model/layer_windows: expected 0 to ")));
}

TEST(Synthesize, SeedAndLayerChangeEverything)
{
    auto options = medium();
    const auto first = synthesize_layer(options, 0);
    EXPECT_TRUE(same(first, synthesize_layer(options, 0)));
    EXPECT_FALSE(first.k.equal(synthesize_layer(options, 1).k));
    options.seed = 1;
    EXPECT_FALSE(first.q_window.equal(synthesize_layer(options, 0).q_window));
}

TEST(Synthesize, KeysAreKnownNumbersOnEveryMachine)
{
    const auto layer = synthesize_layer(medium(), 0);
    EXPECT_FLOAT_EQ(layer.v[1][200][3].item<float>(), 1.529727F);
    EXPECT_NEAR(layer.v.narrow(1, 4, 252).mean().item<double>(), 0, 0.05); // 8064 numbers of deviation below 2
}

TEST(Synthesize, SinksAndHeavyHittersTakeMostOfTheAttention)
{
    const auto layer = synthesize_layer(medium(), 0);
    const auto scores = at::matmul(layer.q_eval[0], layer.k[0].t()) / std::sqrt(16.0);
    const auto attention = at::softmax(scores, -1).mean(0);
    EXPECT_GT(attention.narrow(0, 0, 4).sum().item<double>(), 4 * 4.0 / 256) << "sinks";
    const auto sorted = std::get<0>(attention.sort(0, true));
    EXPECT_GT(sorted.narrow(0, 0, 25).sum().item<double>(), 0.5) << "the tenth that is looked at most";
}

TEST(Synthesize, ColumnSumsArePlausible)
{
    const auto layer = synthesize_layer(medium(), 1);
    const auto seen_by = at::arange(255, -1, -1, at::kFloat);
    EXPECT_TRUE((layer.observed_attention_off_diagonal <= seen_by).all().item<bool>());
    EXPECT_TRUE((layer.observed_attention > layer.observed_attention_off_diagonal).all().item<bool>());
    EXPECT_EQ(layer.observed_attention_off_diagonal[0][255].item<float>(), 0);
}

TEST(Synthesize, LeavesOutTheLossPartWhereAskedTo)
{
    auto options = medium();
    options.eval_len = 0;
    EXPECT_FALSE(synthesize_layer(options, 0).has_losses());
    EXPECT_TRUE(synthesize_layer(options, 0).w_o.defined());
    options.shape.hidden_size = 0;
    EXPECT_FALSE(synthesize_layer(options, 0).w_o.defined());
    options.shape.num_heads = 5;
    EXPECT_EQ(error_of([&] { (void)synthesize_info(options); }),
        "synthetic trace: /model: num_heads: expected a multiple of num_kv_heads, 2, found 5");
}

} // namespace

} // namespace lava::test
