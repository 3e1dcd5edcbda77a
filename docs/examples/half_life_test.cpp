// The worked example of docs/adding-a-policy.md.

#include "docs/examples/half_life.h"

#include "analysis/selection.h"
#include "analysis/statistics.h"
#include "replay/policies/registry.h"
#include "replay/replay.h"
#include "tests/replay/synthetic.h"
#include "tests/replay/worked_layer.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>

namespace lava {
namespace {

PolicySpec half_life(const std::string& window, const std::string& half_life)
{
    static const PolicyInfo info{"half-life", "window attention, recent queries count more", "an example",
        HalfLife::parameters(), {},
        [](const PolicyParams& params) -> std::unique_ptr<Policy> { return std::make_unique<HalfLife>(params); }};
    PolicySpec spec{&info, {}, {}, true, "half-life", info.make};
    spec.params.set(info.parameters[0], info.name, window);
    spec.params.set(info.parameters[1], info.name, half_life);
    return spec;
}

TEST(HalfLife, CountsTheEarlierOfTwoQueriesHalf)
{
    // Weights 1 2 3 | 4 10, window of two queries: the first sees a total of 10, the last one of 20.
    using testing::ln;
    const auto layer = testing::layer_with_keys({{ln(1), ln(2), ln(3), ln(4), ln(10)}}, {{1, 1, 1, 1, 1}}, 1, 2);
    const auto scores = half_life("2", "1").make()->score(LayerInputs(layer, 2)).entries;
    // half of 1/10 plus 1/20, and so on
    EXPECT_THAT(testing::rounded(testing::to_floats(scores)), ::testing::ElementsAre(0.1F, 0.2F, 0.3F));
}

TEST(HalfLife, KeepsWhatIsAskedAndLosesNothingWithTheWholeCache)
{
    const TemporaryFolder folder;
    synthesize_trace(testing::small_options(), folder / "trace.h5");
    ReplayOptions options;
    options.policies = {half_life("32", "8")};
    options.budgets = "80,200"; // of 200 tokens
    const auto report = replay(Trace(folder / "trace.h5"), options, {});
    const auto cells = all_cells(report);
    ASSERT_EQ(cells.size(), 2U);
    EXPECT_EQ(retained(cells[0]), 80 * 3 * 2); // 3 layers of 2 KV heads
    EXPECT_GT(losses(cells[0])->attn_out_l1, 0);
    EXPECT_EQ(losses(cells[1])->attn_out_l1, 0);
}

} // namespace
} // namespace lava
