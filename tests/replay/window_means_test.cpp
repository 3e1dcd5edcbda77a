#include "replay/scores/window_means.h"

#include "replay/scores/scoring.h"
#include "synthetic.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

LayerView layer_of_blocks()
{
    auto options = testing::small_options();
    options.seq_len = 497; // keys are taken 240 at a time; the last block lies inside the window of 32
    return synthesize_layer(options, 1);
}

TEST(WindowMeans, AreMeansOfTheAttention)
{
    const auto layer = layer_of_blocks();
    for (const std::int64_t window : {1, 8, 20, 32}) {
        const auto attention = LayerInputs(layer, window).window_attention(window); // LibTorch's softmax
        const auto expected = attention.narrow(2, 0, layer.seq_len - window).mean(1);
        const auto found = window_means(layer, window);
        ASSERT_EQ(found.sizes(), expected.sizes());
        EXPECT_LE(((found - expected).abs() / expected).max().item<float>(), 5e-6) << window;
    }
}

TEST(WindowMeans, DoNotDependOnTheNumberOfThreads)
{
    const auto layer = layer_of_blocks();
    EXPECT_TRUE(at::equal(window_means(layer, 32, 1), window_means(layer, 32, 2)));
}

} // namespace
} // namespace lava
