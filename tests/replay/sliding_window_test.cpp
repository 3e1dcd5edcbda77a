// Traces whose queries see only the last positions before them: losses, scores and the closed loop.

#include "base/error.h"
#include "closed_loop_cells.h"
#include "compare_losses.h"
#include "devices.h"
#include "replay/closed_loop/closed_loop.h"
#include "replay/losses/changed_values.h"
#include "replay/losses/reference_loss.h"
#include "replay/scores/entry_scores.h"
#include "replay/scores/leave_one_out.h"
#include "replay/scores/window_means.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>

namespace lava {
namespace {

using ::testing::HasSubstr;
using testing::mask_of;
using testing::OnDevice;
using testing::random_ranking;
using testing::small_options;
using ::testing::ThrowsMessage;

constexpr std::int64_t tokens = 200, steps = 5, recorded_queries = 40;

// A layer whose queries at 160 to 204 see `window` positions each.
LayerView layer_of(std::int64_t window, std::int64_t index = 0)
{
    auto options = small_options(tokens);
    options.sliding_window = window;
    return synthesize_layer(options, index);
}

// A query that sees nothing of the prompt at the last steps, one that does not see all steps, one that sees little and
// one that loses entries in every step; that sees all but the first token at the last step; one that sees all.
const std::vector<std::int64_t> windows{1, 3, 60, 199, 204, 205};

// At random, but for one entry that is evicted first.
std::vector<std::uint32_t> ranking_without(const LayerView& layer, std::uint32_t entry)
{
    auto ranking = random_ranking(layer, entry);
    for (const std::int64_t head : {0, 1}) {
        const auto begin = ranking.begin() + head * tokens;
        std::iter_swap(std::find(begin, begin + tokens, entry), begin + tokens - 1);
    }
    return ranking;
}

class WindowedLosses : public OnDevice
{
protected:
    LayerLosses losses(const LayerView& layer, const std::vector<std::uint32_t>& ranking,
        const std::vector<std::int64_t>& counts) const
    {
        return LayerAttention(layer, 1, nullptr, device()).losses(ranking, counts);
    }
};

TEST_P(WindowedLosses, EqualTheNaiveEvaluationInFloat64)
{
    const std::vector<std::int64_t> counts{0, 0, 1, 200, 13, 90, 90, 13, 199, 150, 199, 199};
    for (const auto window : windows) {
        const auto layer = layer_of(window, window % 3);
        const auto ranking = ranking_without(layer, 199); // which some step sees, so that no loss is 0
        const auto found = losses(layer, ranking, counts);
        for (std::size_t set = 0; set < counts.size() / 2; ++set) {
            SCOPED_TRACE(window);
            testing::expect_equal(
                found, set, reference_losses(layer, mask_of(layer, ranking, counts.data() + 2 * set)), 1e-5);
        }
    }
}

TEST_P(WindowedLosses, OfAWindowThatHoldsAllAreThoseWithoutOne)
{
    const auto layer = layer_of(tokens + steps), whole = layer_of(0);
    const auto ranking = random_ranking(layer, 2);
    const std::vector<std::int64_t> counts{0, 0, 40, 90, 199, 200};
    const auto found = losses(layer, ranking, counts), expected = losses(whole, ranking, counts);
    EXPECT_EQ(found.head_l1, expected.head_l1);
    EXPECT_EQ(found.head_output_l2, expected.head_output_l2);
    EXPECT_EQ(found.attn_out_l1, expected.attn_out_l1);
    EXPECT_EQ(found.bound_lava, expected.bound_lava);
    EXPECT_EQ(found.bound_projected, expected.bound_projected);
}

// Every head's newest entries first.
std::vector<std::uint32_t> newest_first(const LayerView& layer)
{
    std::vector<std::uint32_t> ranking;
    for (std::int64_t head = 0; head < layer.shape.num_kv_heads; ++head)
        for (auto entry = layer.seq_len; entry-- > 0;)
            ranking.push_back(static_cast<std::uint32_t>(entry));
    return ranking;
}

TEST_P(WindowedLosses, AreExactlyZeroWhereNothingThatIsSeenIsEvicted)
{
    const auto layer = layer_of(60); // the first step sees 141 to 200
    const auto found = losses(layer, newest_first(layer), {59, 59, 58, 59});
    for (std::size_t step = 0; step < steps; ++step) {
        EXPECT_EQ(found.attn_out_l1[step], 0);
        EXPECT_EQ(found.bound_lava[step], 0);
        // entry 141 leaves the window after the first step
        EXPECT_EQ(found.attn_out_l1[steps + step] > 0, step == 0) << step;
    }
}

TEST_P(WindowedLosses, OfKeptEntriesThatNoStepSeesAreThoseOfKeepingNone)
{
    const auto layer = layer_of(60);
    auto oldest_first = newest_first(layer);
    std::reverse(oldest_first.begin(), oldest_first.end());
    const auto found = losses(layer, oldest_first, {0, 0, 141, 141});
    for (std::size_t step = 0; step < steps; ++step) {
        EXPECT_EQ(found.attn_out_l1[step], found.attn_out_l1[steps + step]);
        EXPECT_GT(found.attn_out_l1[step], 0);
    }
}

TEST_P(WindowedLosses, StayExactWhereKeptEntriesVanishBesideTheEvictedOnes)
{
    auto layer = layer_of(60);
    // entry 150, seen and evicted, has a logit of 750 in every column
    const auto direction = layer.k.select(1, 150) / layer.k.select(1, 150).norm(2, {-1}, true);
    layer.k.select(1, 150).copy_(direction * 10);
    layer.q_eval.copy_((direction * 300).repeat_interleave(3, 0).unsqueeze(1).expand_as(layer.q_eval));
    const auto ranking = ranking_without(layer, 150);
    const std::vector<std::int64_t> counts{199, 100};
    testing::expect_equal(
        losses(layer, ranking, counts), 0, reference_losses(layer, mask_of(layer, ranking, counts.data())), 1e-5);
}

TEST_P(WindowedLosses, NeverExceedTheirBounds)
{
    for (const auto window : windows) {
        auto layer = layer_of(window, 1);
        layer.v.narrow(1, 0, 120).mul_(1e-3); // what has left the window would hide a bound that is too low
        const auto found = losses(layer, random_ranking(layer, 9), {0, 0, 13, 90, 150, 150, 199, 199});
        for (std::size_t i = 0; i < found.attn_out_l1.size(); ++i) {
            EXPECT_LE(found.attn_out_l1[i], found.bound_projected[i] * (1 + 1e-6)) << window;
            EXPECT_LE(found.attn_out_l1[i], found.bound_lava[i] * (1 + 1e-6)) << window;
        }
    }
}

TEST_P(WindowedLosses, HaveTheNormsOfTheNaiveEvaluation)
{
    for (const auto window : windows) {
        const auto layer = layer_of(window);
        const LayerAttention found(layer, 1, nullptr, device());
        const auto expected = reference_norms(layer);
        EXPECT_LE(testing::relative_difference(found.norms().head_output_l1.data(), expected.head_output_l1), 1e-5);
        EXPECT_LE(testing::relative_difference(found.norms().attn_out_l2.data(), expected.attn_out_l2), 1e-5);
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, WindowedLosses, ::testing::ValuesIn(testing::device_names()));

TEST(SlidingWindow, LossesOfValuesThatStayAreTheSame)
{
    const auto layer = layer_of(60);
    const auto ranking = random_ranking(layer, 3);
    const std::vector<std::int64_t> counts{50, 120};
    const auto found = ChangedValues(layer).losses({ranking, counts}, layer.v);
    const auto expected = reference_losses(layer, mask_of(layer, ranking, counts.data()));
    EXPECT_LE(testing::relative_difference(found.attn_out_l1.data(), expected.attn_out_l1), 1e-5);
    EXPECT_LE(testing::relative_difference(found.head_l1.data(), expected.head_l1), 1e-6);
}

// [num_heads, rows, tokens] of the last prompt queries in double, by the definition.
at::Tensor attention_within(const LayerView& layer, std::int64_t rows)
{
    const auto group = layer.shape.group_size();
    const auto q = layer.q_window.narrow(1, recorded_queries - rows, rows).to(at::kDouble);
    const auto k = layer.k.to(at::kDouble).repeat_interleave(group, 0);
    auto logits = at::bmm(q, k.transpose(1, 2)) / std::sqrt(static_cast<double>(layer.shape.head_dim));
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t key = 0; key < tokens; ++key) {
            const auto distance = tokens - rows + row - key;
            if (distance < 0 || distance >= layer.sliding_window)
                logits.select(1, row).select(1, key).fill_(-INFINITY);
        }
    }
    return at::softmax(logits, -1);
}

double deviation(const at::Tensor& found, const at::Tensor& expected)
{
    return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

TEST(SlidingWindow, QueriesOfThePromptPayNothingToWhatHasLeftIt)
{
    for (const std::int64_t window : {1, 10, 60, 175}) {
        const auto layer = layer_of(window, 1);
        for (const std::int64_t rows : {1, 32}) {
            const auto expected = attention_within(layer, rows);
            const LayerInputs inputs(layer, rows);
            EXPECT_LE(deviation(inputs.window_attention(rows), expected), 1e-6);
            EXPECT_TRUE(at::equal(inputs.window_attention(rows) == 0, expected == 0)) << window << ' ' << rows;
            const auto rounded = prefix_attention(inputs, rows, 0, Precision::bf16);
            EXPECT_LE(deviation(rounded, expected), 0.05);
            EXPECT_TRUE(at::equal(rounded == 0, expected == 0)) << window << ' ' << rows;
        }
    }
}

TEST(SlidingWindow, MeansOfTheAttentionAreZeroWhereNoQuerySees)
{
    const auto emulated = testing::emulated_device(cuda::testing::Order::ascending);
    for (const std::int64_t window : {40, 60, 175}) {
        const auto layer = layer_of(window, 2);
        const auto expected = attention_within(layer, 32).mean(1).narrow(1, 0, tokens - 32);
        for (const auto& found : {window_means(layer, 32), window_means(layer, 32, 1, emulated)}) {
            EXPECT_LE(deviation(found, expected), 1e-5) << window;
            EXPECT_TRUE(at::equal(found == 0, expected == 0)) << window;
        }
    }
}

TEST(SlidingWindow, LeavingOneOutIsZeroWhereNoQuerySees)
{
    LeaveOneOutRule rule;
    rule.window = rule.query_rows = 8; // queries at 192 to 199
    const auto found = leave_one_out_scores(LayerInputs(layer_of(60, 1), 8), rule);
    EXPECT_EQ(found.narrow(1, 0, 133).max().item<float>(), 0);
    EXPECT_GT(found.narrow(1, 133, 59).min().item<float>(), 0);
}

TEST(SlidingWindow, LeavingOneOutLooksForTheRestsAttentionWithinIt)
{
    auto layer = layer_of(60, 1);
    // entry 150 draws all the attention of the last query, so that fp32 holds nothing of the others'
    const auto query = layer.q_window[0][recorded_queries - 1];
    layer.k[0].select(0, 150).copy_(query * (1000 / query.square().sum().item<double>()));
    LeaveOneOutRule rule;
    rule.error = LeaveOneOutRule::Error::head;
    rule.window = 8;
    rule.query_rows = 1;
    const auto found = leave_one_out_scores(LayerInputs(layer, 1), rule)[0][150].item<float>();
    auto logits = at::mv(layer.k[0].to(at::kDouble), query.to(at::kDouble)) / 4; // sqrt(head_dim)
    logits.narrow(0, 0, 140).fill_(-INFINITY);
    logits[150] = -INFINITY;
    const auto rest = at::mv(layer.v[0].to(at::kDouble).t(), at::softmax(logits, 0));
    const auto expected = (rest - layer.v[0][150].to(at::kDouble)).square().sum().item<double>();
    EXPECT_NEAR(found, expected, 1e-4 * expected);
}

class WindowedClosedLoop : public ::testing::TestWithParam<std::int64_t>
{
protected:
    WindowedClosedLoop()
    {
        testing::make_windowed_story_model(model_, GetParam());
        testing::record_story(file_, {}, model_);
    }

    const TemporaryFolder folder_;
    const std::filesystem::path model_ = folder_ / "model", file_ = folder_ / "trace.h5";
};

TEST_P(WindowedClosedLoop, IsAPlainDecodeOfEachRowWithinTheWindow)
{
    const Trace trace(file_);
    const auto decoder = open_model_of(trace, model_);
    auto report = testing::ragged_report(trace.info());
    add_closed_loop(trace, decoder, {}, report);
    EXPECT_EQ(report.closed_loop.input_ids, trace.info().eval_ids);
    testing::expect_all_cells(trace, report, model_);
}

TEST_P(WindowedClosedLoop, EveryRowAnswersByItself)
{
    const Trace trace(file_);
    const auto decoder = open_model_of(trace, model_);
    auto report = testing::ragged_report(trace.info());
    constexpr std::int64_t answer = 70;
    add_closed_loop(trace, decoder, {.steps = answer, .free = true}, report);
    const auto first = trace.info().eval_ids.front();
    for (std::size_t p = 0; p < report.policies.size(); ++p) {
        for (std::size_t g = 0; g < report.policies[p].budgets.size(); ++g) {
            const auto& ids = report.policies[p].closed_loop.generated_ids;
            const testing::Ids found(ids.begin() + static_cast<std::ptrdiff_t>(g) * answer,
                ids.begin() + static_cast<std::ptrdiff_t>(g + 1) * answer);
            EXPECT_EQ(found, testing::answer_naively(model_, trace, testing::kept_of(report, p, g), first, answer))
                << "policy " << p << ", budget " << g;
        }
    }
    EXPECT_EQ(report.closed_loop.generated_ids, report.closed_loop.input_ids);
}

// Fewer than steps; less than the prompt; more than the prompt, which entries leave during an answer.
INSTANTIATE_TEST_SUITE_P(Windows, WindowedClosedLoop, ::testing::Values(4, 40, 152));

TEST(SlidingWindow, ThatTheModelDoesNotHaveIsRefusedInAClosedLoop)
{
    const TemporaryFolder folder;
    const auto model = folder / "model", file = folder / "trace.h5";
    testing::make_windowed_story_model(model, 40);
    testing::record_story(file, {}, model);
    const Trace trace(file);
    const auto decoder = open_model_of(trace, testing::story_model); // the same weights, another configuration
    auto report = testing::ragged_report(trace.info());
    EXPECT_THAT([&] { add_closed_loop(trace, decoder, {}, report); },
        ThrowsMessage<Error>(HasSubstr("expected the model's sliding window of 0 in layer 0, found 40")));
}

} // namespace
} // namespace lava
