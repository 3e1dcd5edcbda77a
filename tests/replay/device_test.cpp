#include "compute/device.h"

#include "compare_losses.h"
#include "devices.h"
#include "replay/losses/reference_loss.h"
#include "replay/replay.h"
#include "replay/retention.h"
#include "replay/scores/window_means.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"
#include "traces/synthesize.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

namespace lava {
namespace {

using ::testing::HasSubstr;
using testing::OnDevice;
using ::testing::ThrowsMessage;

LayerView layer_of(std::int64_t group, std::int64_t head_dim, std::int64_t tokens, std::int64_t steps)
{
    auto options = testing::small_options(tokens);
    options.shape.num_heads = 2 * group;
    options.shape.head_dim = head_dim;
    options.eval_len = steps;
    options.window = std::min<std::int64_t>(options.window, tokens);
    return synthesize_layer(options, 0);
}

class DeviceLosses : public OnDevice
{ };

TEST_P(DeviceLosses, EqualTheNaiveEvaluationAtRaggedSizes)
{
    struct Sizes
    {
        std::int64_t group, head_dim, tokens, steps;
    };
    for (const auto& [group, head_dim, tokens, steps] : {Sizes{1, 64, 129, 1}, Sizes{3, 80, 128, 2},
             Sizes{4, 96, 257, 16}, Sizes{8, 128, 50, 9}, Sizes{2, 20, 300, 1}}) {
        const auto layer = layer_of(group, head_dim, tokens, steps);
        const auto ranking = testing::random_ranking(layer, 3);
        const std::vector<std::int64_t> counts{0, tokens, 1, 40, tokens - 1, 1, tokens, tokens, 33, 33};
        const auto found = LayerAttention(layer, 1, nullptr, device()).losses(ranking, counts);
        for (std::size_t set = 0; set < counts.size() / 2; ++set) {
            SCOPED_TRACE(std::to_string(head_dim) + " numbers, set " + std::to_string(set));
            if (counts[2 * set] == tokens && counts[2 * set + 1] == tokens) {
                for (std::int64_t step = 0; step < steps; ++step) { // exactly, which the naive evaluation is not
                    EXPECT_EQ(
                        found.attn_out_l1[set * static_cast<std::size_t>(steps) + static_cast<std::size_t>(step)], 0);
                }
                continue;
            }
            const auto kept = testing::mask_of(layer, ranking, counts.data() + 2 * set);
            testing::expect_equal(found, set, reference_losses(layer, kept), 1e-5);
        }
    }
}

TEST_P(DeviceLosses, OfManySetsAreThoseOfEachAlone)
{
    const auto layer = layer_of(3, 16, 200, 5);
    const auto ranking = testing::random_ranking(layer, 8);
    std::vector<std::int64_t> counts; // 60 sets of 5 steps: more rows than a tile of the projection has
    for (std::int64_t set = 0; set < 60; ++set) {
        counts.insert(counts.end(), {set * 3, 200 - set});
    }
    const LayerAttention attention(layer, 1, nullptr, device());
    const auto together = attention.losses(ranking, counts);
    for (std::size_t set = 0; set < 60; set += 13) {
        const auto alone = attention.losses(ranking, std::vector<std::int64_t>{counts[2 * set], counts[2 * set + 1]});
        testing::expect_equal(together, set, alone, 1e-6); // sums over other pieces round otherwise
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceLosses, ::testing::Values("emulated", "reversed", "cuda"));

class DeviceScores : public OnDevice
{ };

TEST_P(DeviceScores, WindowMeansEqualTheCpus)
{
    for (const auto& [group, head_dim, tokens] :
        {std::tuple{1, 64, 41}, std::tuple{3, 80, 300}, std::tuple{4, 128, 129}, std::tuple{8, 96, 700}}) {
        const auto layer = layer_of(group, head_dim, tokens, 1);
        for (const std::int64_t window : {1, 7, 32}) {
            const auto expected = window_means(layer, window);
            const auto found = window_means(layer, window, 1, device());
            ASSERT_EQ(found.sizes(), expected.sizes());
            EXPECT_LE(((found - expected).abs() / expected).max().item<float>(), 1e-5)
                << tokens << " tokens, window of " << window;
        }
    }
}

TEST_P(DeviceScores, RankingsEqualTheCpusWithTies)
{
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{1});
    for (const std::int64_t count : {1, 2, 255, 256, 257, 3001}) {
        // few values, of both signs and all sizes, zeros of both signs among them
        const auto few = at::randint(-30, 30, {3, count}, generator, at::kFloat);
        const auto scores = at::copysign(few.abs().pow(9) * 1e-4, few.flip(0));
        const auto expected = rank_layer({scores}, count, 0);
        const auto found = rank_layer({scores}, count, 0, {}, device());
        EXPECT_EQ(found.ranking, expected.ranking) << count;
        EXPECT_EQ(found.sorted, expected.sorted) << count;
    }
}

TEST_P(DeviceScores, RankingsOfALayerWithoutEvictableEntriesAreTheWindow)
{
    const auto found = rank_layer({at::empty({2, 0})}, 3, 3, {}, device());
    EXPECT_THAT(found.ranking, ::testing::ElementsAre(2, 1, 0, 2, 1, 0));
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceScores, ::testing::Values("emulated", "reversed", "cuda"));

class DeviceReplay : public OnDevice
{
protected:
    DeviceReplay() { synthesize_trace(testing::small_options(), trace_); }

    ReplayReport run(const Device& device) const
    {
        ReplayOptions options;
        for (const auto* policy : {"snapkv", "lava", "h2o", "streaming-llm", "tova"}) {
            options.policies.push_back(parse_policy(policy));
        }
        options.budgets = "48,100,200";
        options.threads = 2;
        options.match = BudgetMatch::both;
        options.device = device;
        return replay(Trace(trace_), options);
    }

    const TemporaryFolder folder_;
    const std::filesystem::path trace_ = folder_ / "trace.h5";
};

TEST_P(DeviceReplay, ReportsWhatTheCpuReports)
{
    const auto expected = run(cpu_device()), found = run(device());
    ASSERT_EQ(found.policies.size(), expected.policies.size());
    EXPECT_LE(testing::relative_difference(found.norms.attn_out_l1.data(), expected.norms.attn_out_l1), 1e-5);
    for (std::size_t i = 0; i < expected.policies.size(); ++i) {
        const auto &a = found.policies[i], &b = expected.policies[i];
        SCOPED_TRACE(b.policy);
        EXPECT_EQ(a.counts, b.counts);
        EXPECT_LE(testing::relative_difference(a.head_output_l2.data(), b.head_output_l2), 1e-5);
        EXPECT_LE(testing::relative_difference(a.attn_out_l1.data(), b.attn_out_l1), 1e-5);
        EXPECT_LE(testing::relative_difference(a.bound_lava.data(), b.bound_lava), 1e-5);
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceReplay, ::testing::Values("emulated", "cuda"));

TEST(ReplayDevices, AreRefusedByName)
{
    EXPECT_EQ(&device_of("cpu"), &cpu_device());
    EXPECT_THAT(
        [] { (void)device_of("tpu"); }, ThrowsMessage<UsageError>(HasSubstr("expected cpu or cuda, found 'tpu'")));
}

} // namespace
} // namespace lava
