// What evicting one entry changes, against evicting it.

#include "replay/scores/leave_one_out.h"
#include "synthetic.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include <limits>

namespace lava {
namespace {

using testing::small_options;

constexpr std::int64_t rows = 6;
constexpr std::int64_t window = 8;

// [rows, head_dim] in double: the head's output, with entry `without` gone where it is not negative.
at::Tensor head_output(const LayerInputs& layer, std::int64_t head, std::int64_t without)
{
    const auto kv_head = head / layer.shape().group_size();
    const auto k = layer.k()[kv_head].to(at::kDouble);
    auto logits = at::mm(layer.queries(rows)[head].to(at::kDouble), k.t())
        / std::sqrt(static_cast<double>(layer.shape().head_dim));
    const auto infinite = -std::numeric_limits<double>::infinity();
    for (std::int64_t row = 0; row + 1 < rows; ++row) { // no query sees a later token
        const auto first = layer.seq_len() - rows + row + 1;
        logits[row].narrow(0, first, layer.seq_len() - first).fill_(infinite);
    }
    if (without >= 0) {
        logits.select(1, without).fill_(infinite);
    }
    const auto attention = at::softmax(logits, 1);
    return at::mm(attention, layer.v()[head / layer.shape().group_size()].to(at::kDouble));
}

at::Tensor projection(const LayerInputs& layer, std::int64_t head)
{
    const auto d = layer.shape().head_dim;
    return layer.w_o().narrow(1, head * d, d).t().to(at::kDouble);
}

// [rows]: squared error once the entry is gone, of one query head or of a KV head's group
at::Tensor squared_error(
    const LayerInputs& layer, LeaveOneOutRule::Error error, std::int64_t first, std::int64_t heads, std::int64_t entry)
{
    at::Tensor change;
    for (auto head = first; head < first + heads; ++head) {
        auto moved = head_output(layer, head, -1) - head_output(layer, head, entry);
        if (error != LeaveOneOutRule::Error::head) {
            moved = at::mm(moved, projection(layer, head));
        }
        change = change.defined() ? change + moved : moved;
    }
    return change.square().sum(1);
}

void expect_brute_force(const LayerView& view, LeaveOneOutRule::Error error)
{
    const LayerInputs layer(view, rows);
    LeaveOneOutRule rule;
    rule.error = error;
    rule.window = window;
    rule.query_rows = rows;
    const auto together = error == LeaveOneOutRule::Error::layer ? view.shape.group_size() : 1;
    const auto scores = leave_one_out_scores(layer, rule);
    ASSERT_EQ(scores.size(0), view.shape.num_heads / together);
    ASSERT_EQ(scores.size(1), view.seq_len - window);
    for (const auto row : {std::int64_t{0}, scores.size(0) - 1}) {
        for (const std::int64_t entry : {0, 1, 2, 50, 100, 191}) {
            const auto expected = squared_error(layer, error, row * together, together, entry).max().item<double>();
            EXPECT_NEAR(scores[row][entry].item<float>(), expected, 1e-4 * expected + 1e-12) << row << ' ' << entry;
        }
    }
}

TEST(LeaveOneOut, EqualsEvictingTheEntry)
{
    const auto view = synthesize_layer(small_options(), 1);
    expect_brute_force(view, LeaveOneOutRule::Error::layer);
    expect_brute_force(view, LeaveOneOutRule::Error::head);
    expect_brute_force(view, LeaveOneOutRule::Error::projected_head);
}

TEST(LeaveOneOut, IsExactWhereOneEntryDrawsNearlyAllAttention)
{
    // Entry 2's logit is that much above all others: 1 - p has lost most of its digits where it is formed from p in
    // fp32, then all of them, then fp32 holds nothing of the others' attention.
    for (const double margin : {12, 25, 70, 120}) {
        SCOPED_TRACE(margin);
        auto view = synthesize_layer(small_options(), 1);
        const auto query = view.q_window[0][view.window - 1];
        const auto scale = std::sqrt(static_cast<double>(view.shape.head_dim));
        const auto largest = at::mv(view.k[0], query).max().item<double>() / scale;
        view.k[0].select(0, 2).copy_(query * ((largest + margin) * scale / query.square().sum().item<double>()));
        const LayerInputs layer(view, rows);
        EXPECT_GT(layer.window_attention(rows)[0][rows - 1][2].item<float>(), 0.999);
        expect_brute_force(view, LeaveOneOutRule::Error::layer);
        expect_brute_force(view, LeaveOneOutRule::Error::head);
    }
}

TEST(LeaveOneOut, ReducesTheWindowAsAsked)
{
    const auto view = synthesize_layer(small_options(), 0);
    const LayerInputs layer(view, rows);
    const auto of = [&](LeaveOneOutRule::Reduce reduce) {
        LeaveOneOutRule rule;
        rule.window = window;
        rule.query_rows = rows;
        rule.reduce = reduce;
        return leave_one_out_scores(layer, rule);
    };
    EXPECT_TRUE(at::allclose(of(LeaveOneOutRule::Reduce::sum), of(LeaveOneOutRule::Reduce::mean) * rows));
    const auto expected = squared_error(layer, LeaveOneOutRule::Error::layer, 3, 3, 7);
    EXPECT_NEAR(of(LeaveOneOutRule::Reduce::sum)[1][7].item<float>(), expected.sum().item<double>(),
        1e-4 * expected.sum().item<double>());
}

TEST(LeaveOneOut, RelativeErrorsAreOverWhatTheLayerWrites)
{
    const auto view = synthesize_layer(small_options(), 0);
    const LayerInputs layer(view, 1);
    LeaveOneOutRule rule;
    rule.window = window;
    rule.query_rows = 1;
    const auto absolute = leave_one_out_scores(layer, rule);
    rule.relative = true;
    auto written = at::zeros({1, view.shape.hidden_size}, at::kDouble);
    const LayerInputs six(view, rows);
    for (std::int64_t head = 0; head < view.shape.num_heads; ++head) {
        written += at::mm(head_output(six, head, -1).narrow(0, rows - 1, 1), projection(six, head));
    }
    if (view.b_o.defined()) {
        written += view.b_o;
    }
    const auto expected = absolute / written.square().sum().item<float>();
    EXPECT_TRUE(at::allclose(leave_one_out_scores(layer, rule), expected, 1e-4));
}

} // namespace
} // namespace lava
