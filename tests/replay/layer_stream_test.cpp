#include "replay/layer_stream.h"

#include "synthetic.h"

#include <gtest/gtest.h>

namespace lava {
namespace {

TraceInfo info_of(std::int64_t seq_len, std::int64_t num_layers)
{
    SynthesisOptions options;
    options.shape
        = {.num_layers = num_layers, .num_heads = 32, .num_kv_heads = 8, .head_dim = 128, .hidden_size = 4096};
    options.seq_len = seq_len;
    return synthesize_info(options);
}

TEST(LayerSchedule, SmallLayersGoSideBySide)
{
    const auto schedule = schedule_layers(info_of(2048, 32), 4, 2.5e9);
    EXPECT_EQ(schedule.at_once, 4);
    EXPECT_EQ(schedule.threads_each, 1);
}

TEST(LayerSchedule, NoMoreLayersThanThereAre)
{
    const auto schedule = schedule_layers(info_of(2048, 2), 8, 2.5e9);
    EXPECT_EQ(schedule.at_once, 2);
    EXPECT_EQ(schedule.threads_each, 4);
}

TEST(LayerSchedule, LargeLayersComeOneByOneAndAheadOfTime)
{
    const auto schedule = schedule_layers(info_of(131072, 32), 8, 3e9); // 1.07 GB of K and V, 0.54 GB of work
    EXPECT_EQ(schedule.at_once, 1);
    EXPECT_EQ(schedule.threads_each, 8);
    EXPECT_TRUE(schedule.reads_ahead);
    EXPECT_FALSE(schedule_layers(info_of(131072, 32), 8, 2e9).reads_ahead);
}

} // namespace
} // namespace lava
