// What a policy answers is checked, and every row of the registry keeps to it.

#include "replay/policies/contract.h"

#include "analysis/npy.h"
#include "analysis/selection.h"
#include "analysis/statistics.h"
#include "base/error.h"
#include "replay/losses/reference_loss.h"
#include "replay/replay.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <numeric>

namespace lava {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::small_options;
using ::testing::ThrowsMessage;

std::string numbers(const std::vector<std::int64_t>& shape, std::size_t depth, int& next)
{
    if (depth == shape.size()) {
        return std::to_string(1 + next++ % 7);
    }
    std::string text = "[";
    for (std::int64_t i = 0; i < shape[depth]; ++i) {
        text += (i == 0 ? "" : ",") + numbers(shape, depth + 1, next);
    }
    return text + "]";
}

class Contract : public ::testing::Test
{
protected:
    Contract() { synthesize_trace(small_options(), trace_); }

    std::string write(const std::string& name, const std::string& text) const
    {
        std::ofstream(folder_ / name) << text;
        return (folder_ / name).string();
    }
    std::string json(const std::string& name, const std::vector<std::int64_t>& shape) const
    {
        int next = 0;
        return write(name, numbers(shape, 0, next));
    }

    // A policy's name with what it must be told, for the trace of 3 layers, 6 query heads, 2 KV heads.
    std::string spelling(const std::string& name) const
    {
        if (name == "headkv") {
            std::string heads;
            for (int i = 0; i < 18; ++i) {
                heads += (i == 0 ? "" : ",") + ('"' + std::to_string(i / 6)) + '-' + std::to_string(i % 6)
                    + "\":" + std::to_string(1 + i % 4);
            }
            return name + ":file=" + write("headkv.json", "{" + heads + "}");
        }
        if (name == "lu-kv") {
            write_npy(folder_ / "curves.npy", {{99, 3, 2}, std::vector<double>(594, 0.5)});
            return name + ":file=" + (folder_ / "curves.npy").string();
        }
        if (name == "duo-attention") {
            return name + ":sinks=4,recent=16,file=" + json("heads.json", {3, 2});
        }
        if (name == "per-layer") {
            return name + ":file=" + write("ratios.txt", "0.2\n0.5\n0.7\n");
        }
        if (name == "qfilter") {
            return name + ":file=" + json("filters.json", {3, 2, 16});
        }
        if (name == "external") {
            return name
                + ":file=" + write("kept.json", R"({"seq_len":200,"kept":[[[1,2],[3]],[[4],[5]],[[6],[199]]]})");
        }
        if (name == "dms") {
            return name + ":threshold=0.005";
        }
        return name;
    }

    std::vector<PolicySpec> every_row() const
    {
        std::vector<PolicySpec> specs;
        for (const auto& info : policies()) {
            specs.push_back(parse_policy(spelling(info.name)));
        }
        return specs;
    }

    ReplayReport run(std::vector<PolicySpec> specs, const std::string& budgets) const
    {
        ReplayOptions options;
        options.policies = std::move(specs);
        options.budgets = budgets;
        ReplayObserver observer;
        observer.note = [this](const std::string& note) { notes_ += note + "\n"; };
        return replay(Trace(trace_), options, observer);
    }

    TemporaryFolder folder_;
    std::filesystem::path trace_ = folder_ / "trace.h5";
    mutable std::string notes_;
};

TEST_F(Contract, EveryRowOfTheRegistryKeepsIt)
{
    for (const auto& spec : every_row()) {
        ReplayReport report;
        try {
            report = run({spec}, "33,80,199,200");
        } catch (const Error& error) {
            EXPECT_THAT(error.what(), HasSubstr("which the trace does not have")) << spec.canonical;
            continue;
        }
        const auto& policy = report.policies.front();
        const Trace trace(trace_);
        for (const auto& cell : all_cells(report)) {
            const auto where = policy.policy + " at " + std::to_string(policy.budgets[cell.budget]);
            for (std::int64_t layer = 0; layer < 3; ++layer) {
                auto mask = at::zeros({policy.cache_heads, 200}, at::kBool);
                for (std::int64_t head = 0; head < policy.cache_heads; ++head) {
                    const auto kept = kept_positions(cell, {layer, head});
                    ASSERT_GE(std::ssize(kept), policy.window) << where;
                    for (std::int64_t i = 0; i < policy.window; ++i) {
                        EXPECT_EQ(kept[kept.size() - 1 - static_cast<std::size_t>(i)], 199 - i) << where;
                    }
                    for (const auto position : kept) {
                        mask[head][position] = true;
                    }
                }
                if (spec.make()->changes_values() || policy.cache_heads != 2) {
                    continue; // measured by tests of their own
                }
                const auto expected = reference_losses(trace.layer(layer), mask).attn_out_l1;
                const auto mean = std::accumulate(expected.begin(), expected.end(), 0.0) / 5;
                EXPECT_NEAR(losses(cell, layer)->attn_out_l1, mean, 1e-5 * mean + 1e-12) << where;
            }
        }
    }
}

TEST_F(Contract, NoRowSeesTheEvaluationSteps)
{
    const auto layer = synthesize_layer(small_options(), 0);
    auto other = layer;
    for (auto* tensor : {&other.q_eval, &other.k_eval, &other.v_eval, &other.attn_out, &other.resid_pre}) {
        *tensor = at::full_like(*tensor, 3.25);
    }
    const auto info = Trace(trace_).info();
    const RotaryEmbedding rope{info.rope_inv_freq, info.rope_attention_scaling};
    for (const auto& spec : every_row()) {
        const auto policy = spec.make();
        const bool expand = policy->per_query_head();
        const auto rows = std::max<std::int64_t>(policy->query_rows(), 1);
        if (rows > layer.q_window.size(1)) {
            continue; // such a policy cannot be replayed on this trace
        }
        const auto a = expand ? per_query_head(layer) : layer, b = expand ? per_query_head(other) : other;
        try {
            const auto first = policy->score(LayerInputs(a, rows, rope)),
                       second = policy->score(LayerInputs(b, rows, rope));
            EXPECT_TRUE(at::equal(first.entries, second.entries)) << spec.canonical;
            EXPECT_EQ(first.weight, second.weight) << spec.canonical;
            EXPECT_EQ(first.head_counts, second.head_counts) << spec.canonical;
        } catch (const Error& error) { // a policy that this trace cannot serve
            EXPECT_THAT(error.what(), HasSubstr("query rows")) << spec.canonical;
        }
    }
}

// A policy that keeps the contract but for what a test changes.
struct Wrong : Policy
{
    std::int64_t window() const override { return 8; }
    LayerScores score(const LayerInputs& layer) const override { return {at::zeros({2, layer.seq_len() - 8})}; }
    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest& request) const override
    {
        const std::vector<std::int64_t> counts(6, request.spare());
        return {counts, counts};
    }
};

template <std::int64_t heads, std::int64_t columns> struct OfShape : Wrong
{
    LayerScores score(const LayerInputs&) const override { return {at::zeros({heads, columns})}; }
};

template <int what> struct OfScores : Wrong
{
    LayerScores score(const LayerInputs& layer) const override
    {
        auto scores = Wrong::score(layer);
        if (what == 0) {
            scores.entries[1][7] = std::numeric_limits<float>::quiet_NaN();
        } else if (what == 1) {
            scores.entries[1][7] = std::numeric_limits<float>::infinity();
        } else if (what == 2) {
            scores.entries = scores.entries.to(at::kDouble);
        } else if (what == 3) {
            scores.head_counts = {1, 193};
        } else {
            layer.window_attention(8);
        }
        return scores;
    }
};

template <int what> struct OfAllocation : Wrong
{
    Allocation allocate(std::span<const RankedLayer>, const BudgetRequest&) const override
    {
        const std::vector<std::int64_t> counts = what == 0 ? std::vector<std::int64_t>(5, 10)
            : what == 1                                    ? std::vector<std::int64_t>{1, 1, 1, 193, 1, 1}
                                                           : std::vector<std::int64_t>{1, 1, -1, 1, 1, 1};
        return {counts, counts};
    }
};

template <int what> struct OfValues : Wrong
{
    bool changes_values() const override { return true; }
    at::Tensor values(const LayerInputs& layer, const KeptEntries&) const override
    {
        auto values = layer.v().clone();
        if (what == 0) {
            return values.narrow(1, 0, 100);
        }
        values[0][199][3] = std::numeric_limits<float>::quiet_NaN();
        return values;
    }
};

template <typename P> PolicySpec spec_of()
{
    auto spec = parse_policy("random");
    spec.canonical = "mine";
    spec.maker = [](const PolicyParams&) -> std::unique_ptr<Policy> { return std::make_unique<P>(); };
    return spec;
}

TEST_F(Contract, AWrongPolicyIsNamedWithWhatIsExpectedAndFound)
{
    const auto expect = [&](const PolicySpec& spec, const std::string& message) {
        EXPECT_THAT([&] { run({spec}, "80"); }, ThrowsMessage<Error>(message));
    };
    EXPECT_NO_THROW(run({spec_of<Wrong>()}, "80"));
    const std::string scores = "mine: layer 0: scores: expected float32 [2, 192], found ";
    expect(spec_of<OfShape<2, 200>>(), scores + "float32 [2, 200]");
    expect(spec_of<OfShape<2, 16>>(), scores + "float32 [2, 16]");
    expect(spec_of<OfShape<6, 192>>(), scores + "float32 [6, 192]");
    expect(spec_of<OfShape<1, 192>>(), scores + "float32 [1, 192]");
    expect(spec_of<OfScores<2>>(), scores + "float64 [2, 192]");
    const std::string finite = "mine: layer 0: scores: expected finite numbers, found ";
    expect(spec_of<OfScores<0>>(), finite + "NaN at head 1, position 7");
    expect(spec_of<OfScores<1>>(), finite + "+inf at head 1, position 7");
    expect(spec_of<OfScores<3>>(), "mine: layer 0: head_counts: expected numbers from 0 to 192, found 193");
    expect(spec_of<OfScores<4>>(),
        "mine: layer 0: expected at most 0 query rows (what query_rows() says), found that it asks for 8");
    expect(spec_of<OfAllocation<0>>(), "mine: allocation at budget 80: expected 6 heads (3 layers of 2), found 5");
    expect(spec_of<OfAllocation<1>>(),
        "mine: layer 1: allocation at budget 80, head 1: expected from 0 to 192 entries, found 193");
    expect(spec_of<OfAllocation<2>>(),
        "mine: layer 1: allocation at budget 80, head 0: expected from 0 to 192 entries, found -1");
    EXPECT_THAT([&] { run({spec_of<OfValues<0>>()}, "80"); },
        ThrowsMessage<Error>(
            "mine: layer 0: changed values: expected float32 [2, 200, 16], found float32 [2, 100, 16]"));
    EXPECT_THAT([&] { run({spec_of<OfValues<1>>()}, "80"); },
        ThrowsMessage<Error>(
            "mine: layer 0: changed values: expected finite numbers, found NaN at head 0, position 199"));
}

TEST_F(Contract, ABudgetWithinAPolicysWindowIsLeftOutForThatPolicyOnly)
{
    const auto report = run({parse_policy("snapkv"), parse_policy("tova")}, "20,80");
    ASSERT_EQ(report.policies.size(), 2U);
    EXPECT_EQ(report.policies[0].budgets, (std::vector<std::int64_t>{80}));
    EXPECT_EQ(report.policies[1].budgets, (std::vector<std::int64_t>{20, 80}));
    EXPECT_EQ(notes_, "left out: a budget of 20 leaves nothing to choose: snapkv keeps a window of 32\n");
    write_report(folder_ / "report.h5", report, Rankings::kept, 1);
    EXPECT_EQ(all_cells(read_report(folder_ / "report.h5")).size(), 3U);
}

TEST_F(Contract, ABudgetWithoutEffectIsNoted)
{
    run({parse_policy(spelling("external"))}, "80");
    EXPECT_THAT(notes_, HasSubstr("--budget has no effect: what external:file="));
}

TEST_F(Contract, EndlessFilesAndDeepNestsAreRefused)
{
    for (const auto* policy : {"qfilter:file=/dev/zero", "duo-attention:file=/dev/zero", "lu-kv:file=/dev/zero",
             "external:file=/dev/zero", "headkv:file=/dev/zero", "ada:base=[qfilter:file=/dev/zero]"}) {
        EXPECT_THAT([&] { parse_policy(policy).make(); },
            ThrowsMessage<Error>(AllOf(HasSubstr("/dev/zero: "), HasSubstr("expects a regular file"))))
            << policy;
    }
    std::string nested = "snapkv";
    for (int i = 0; i < 8; ++i) {
        nested = "criticalkv:base=[" + nested + "]";
    }
    EXPECT_NO_THROW(parse_policy(nested));
    EXPECT_THAT([&] { parse_policy("criticalkv:base=[" + nested + "]"); },
        ThrowsMessage<UsageError>(HasSubstr("expected at most 8 policies")));
}

TEST_F(Contract, LeaveOneOutScoresOfATraceOfZerosAreZero)
{
    auto layer = synthesize_layer(small_options(), 0);
    layer.v = at::zeros_like(layer.v);
    const auto relative = parse_policy("loo:unit=relative").make()->score(LayerInputs(layer, 40));
    EXPECT_EQ(relative.entries.abs().max().item<float>(), 0);
}

TEST_F(Contract, LeaveOneOutScoresThatOverflowAreRefused)
{
    auto layer = synthesize_layer(small_options(), 0);
    layer.v = layer.v * 1e25F; // whose products are beyond float32
    const auto policy = parse_policy("loo").make();
    const auto scores = policy->score(LayerInputs(layer, 40));
    EXPECT_THAT(
        [&] {
            check_scores(*policy, "loo", 2, scores, {layer.shape, 200, policy->window()});
        },
        ThrowsMessage<Error>(HasSubstr("loo: layer 2: scores: expected finite numbers, found ")));
}

} // namespace
} // namespace lava
