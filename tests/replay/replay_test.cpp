#include "replay/replay.h"

#include "analysis/selection.h"
#include "analysis/statistics.h"
#include "analysis/tables.h"
#include "base/error.h"
#include "replay/losses/reference_loss.h"
#include "replay/policies/composition.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"
#include "traces/trace_writer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

namespace lava {
namespace {

using ::testing::HasSubstr;
using testing::small_options;
using ::testing::ThrowsMessage;

class Replay : public ::testing::Test
{
protected:
    Replay() { synthesize_trace(small_options(), trace_); }

    ReplayReport run(const std::string& policy, const std::string& budgets, int threads = 1) const
    {
        ReplayOptions options;
        if (!policy.empty()) {
            options.policies = {parse_policy(policy)};
        }
        options.budgets = budgets;
        options.threads = threads;
        return replay(Trace(trace_), options);
    }

    TemporaryFolder folder_;
    std::filesystem::path trace_ = folder_ / "trace.h5";
};

TEST_F(Replay, EveryPolicyKeepsItsContract)
{
    const auto report = run("", "33,34,80,150,199,200");
    EXPECT_EQ(report.policies.size(), default_policies().size());
    for (const auto& cell : all_cells(report)) {
        const auto& policy = cell.replay();
        const auto where = policy.policy + " at " + std::to_string(policy.budgets[cell.budget]);
        EXPECT_EQ(policy.asked[cell.budget], policy.budgets[cell.budget] * 6) << where;
        // CAKE leaves a prompt of up to budget + window tokens whole, whatever it granted
        const std::int64_t beyond = policy.name == "cake" ? 6 * policy.window : 0;
        EXPECT_LE(retained(cell), policy.granted[cell.budget] + beyond) << where;
        for (std::int64_t layer = 0; layer < 3; ++layer) {
            for (std::int64_t head = 0; head < 2; ++head) {
                const auto kept = kept_positions(cell, {layer, head});
                ASSERT_GE(static_cast<std::int64_t>(kept.size()), policy.window) << where;
                ASSERT_LE(kept.size(), 200U) << where;
                for (std::int64_t i = 0; i < policy.window; ++i) { // the window is there
                    EXPECT_EQ(kept[kept.size() - 1 - static_cast<std::size_t>(i)], 199 - i) << where;
                }
            }
        }
        if (retained(cell) == 6 * 200) {
            EXPECT_EQ(losses(cell)->attn_out_l1, 0) << where;
        } else {
            EXPECT_GT(losses(cell)->attn_out_l1, 0) << where;
        }
    }
}

// The same cells at the same budgets: sets, numbers granted, and the order within a head.
void expect_same_sets(const ReplayReport& a, const ReplayReport& b, const std::string& what)
{
    ASSERT_EQ(a.policies.size(), b.policies.size()) << what; // both matches, or one
    for (std::size_t i = 0; i < a.policies.size(); ++i) {
        EXPECT_EQ(a.policies[i].counts, b.policies[i].counts) << what;
        EXPECT_EQ(a.policies[i].granted, b.policies[i].granted) << what;
        EXPECT_EQ(a.policies[i].nominal, b.policies[i].nominal) << what;
        EXPECT_EQ(a.policies[i].ranking, b.policies[i].ranking) << what;
    }
}

TEST_F(Replay, APolicyKeepsWhatTheCompositionKeepsThatItIsListedWith)
{
    auto options = small_options();
    options.window = options.seq_len; // whatever a variant's window
    synthesize_trace(options, trace_);
    std::set<std::string> composed;
    std::vector<std::string> names{"h2o:recent=even,window=6", "tova:heads=group,protect=first:3",
        "vatp:rows=40,sinks=5", "lava:alpha=0.3,floor=nominal,kernel=3", "loo:unit=relative,alpha=0.2",
        "dropkv:project=wo,heads=layer", "cake:tau1=0.7,cascading=off,window=8",
        "lava-pyramid:beta=5,pyramid_ref_N=150"};
    for (const auto& info : policies()) {
        if (!info.composition.empty() && info.name != "headkv") { // which must be told a file
            names.push_back(info.name);
            for (const auto& variant : info.variants) {
                names.push_back(info.name + "@" + variant.name);
            }
        }
    }
    for (const auto& name : names) {
        const auto pieces = composition_of(parse_policy(name));
        if (!pieces.empty()) {
            composed.insert(name);
            const std::string budgets = "70,90,150,199,200";
            expect_same_sets(run(name, budgets), run(pieces, budgets), name + " and " + pieces);
        }
    }
    EXPECT_GT(composed.size(), 45U);
    for (const auto* name : {"snapkv", "h2o@official", "tova@paper", "vatp@official", "lava@official", "keydiff"}) {
        EXPECT_EQ(composed.count(name), 1U) << name;
    }
}

TEST_F(Replay, UniformPoliciesKeepExactlyWhatIsAsked)
{
    for (const auto* policy : {"random", "streaming-llm", "h2o", "tova", "snapkv", "vatp", "lava-uniform"}) {
        const auto report = run(policy, "33,80,150");
        for (const auto& cell : all_cells(report)) {
            EXPECT_EQ(cell.replay().granted[cell.budget], cell.replay().asked[cell.budget]) << policy;
            EXPECT_EQ(retained(cell), cell.replay().asked[cell.budget]) << policy;
        }
    }
}

TEST_F(Replay, ALargerBudgetOfANestedPolicyKeepsASuperset)
{
    for (const auto* policy : {"random", "streaming-llm", "h2o", "tova", "snapkv", "vatp", "lava-uniform", "lava"}) {
        const auto report = run(policy, "40,90");
        const auto small = kept_positions({report, 0, 0}, {1, 1});
        const auto large = kept_positions({report, 0, 1}, {1, 1});
        EXPECT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end())) << policy;
    }
}

TEST_F(Replay, LossesOfEveryPolicyAndBudgetEqualTheNaiveEvaluation)
{
    const auto report = run("", "33,60,120,199");
    const Trace trace(trace_);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        const auto view = trace.layer(layer);
        for (const auto& cell : all_cells(report)) {
            auto mask = at::zeros({2, 200}, at::kBool);
            for (std::int64_t head = 0; head < 2; ++head) {
                for (const auto position : kept_positions(cell, {layer, head})) {
                    mask[head][position] = true;
                }
            }
            const auto expected = reference_losses(view, mask);
            const auto mean = std::accumulate(expected.attn_out_l1.begin(), expected.attn_out_l1.end(), 0.0) / 5;
            EXPECT_NEAR(losses(cell, layer)->attn_out_l1, mean, 1e-5 * mean + 1e-12)
                << cell.replay().policy << " " << cell.replay().budgets[cell.budget] << " " << layer;
        }
    }
}

TEST_F(Replay, AnyNumberOfThreadsGivesTheSameBytes)
{
    const auto bytes = [&](int threads) {
        const auto file = folder_ / "report.h5";
        write_report(file, run("", "40,100,200", threads), Rankings::kept, threads);
        std::ifstream in(file, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const auto one = bytes(1);
    EXPECT_EQ(one, bytes(2));
    EXPECT_EQ(one, bytes(7));
}

TEST_F(Replay, ARetainedSetReplayedFromItsFileGivesTheSameLoss)
{
    const auto report = run("lava@official", "70");
    const auto file = folder_ / "kept.json";
    std::ofstream(file) << retained_json({report, 0, 0});
    const auto external = run("external:file=" + file.string(), "");
    ASSERT_EQ(external.policies.front().budgets.size(), 1U);
    EXPECT_EQ(external.policies.front().asked.front(), retained({report, 0, 0}));
    EXPECT_EQ(external.policies.front().granted.front(), retained({report, 0, 0}));
    EXPECT_NEAR(losses({external, 0, 0})->attn_out_l1, losses({report, 0, 0})->attn_out_l1,
        1e-6 * losses({report, 0, 0})->attn_out_l1);
}

TEST_F(Replay, BudgetsThatLeaveNothingToChooseAreRefused)
{
    EXPECT_THAT([&] { run("snapkv", "32"); },
        ThrowsMessage<Error>(
            "--budget: 32 leaves nothing to choose: snapkv keeps a window of 32; expected more than that"));
    EXPECT_THAT([&] { run("streaming-llm", "4"); }, ThrowsMessage<Error>(HasSubstr("streaming-llm reserves 4")));
    EXPECT_NO_THROW(run("snapkv", "33"));
    EXPECT_NO_THROW(run("streaming-llm", "5"));
}

TEST_F(Replay, APromptNoLongerThanTheWindowIsRefused)
{
    auto options = small_options(32);
    options.window = 32;
    synthesize_trace(options, trace_);
    EXPECT_THAT([&] { run("snapkv", ""); },
        ThrowsMessage<Error>(HasSubstr("the prompt's 32 tokens are no more than the window of 32 that snapkv keeps")));
    EXPECT_NO_THROW(run("snapkv:window=31", ""));
}

TEST_F(Replay, PoliciesThatTheTraceCannotServe)
{
    EXPECT_THAT([&] { run("snapkv:window=41", ""); },
        ThrowsMessage<Error>(HasSubstr("snapkv:window=41 reads the last 41 query rows, the trace records 40")));

    const auto info = synthesize_info(small_options());
    TraceWriter writer(trace_, info, {});
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        auto view = synthesize_layer(small_options(), layer);
        view.observed_attention = at::Tensor();
        view.observed_attention_off_diagonal = at::Tensor();
        writer.write_layer(view);
    }
    writer.finish();
    EXPECT_THAT([&] { run("h2o", ""); }, ThrowsMessage<Error>(HasSubstr("h2o needs the column sums")));
    std::vector<std::string> notes;
    ReplayObserver observer;
    observer.note = [&](const std::string& note) { notes.push_back(note); };
    const auto report = replay(Trace(trace_), {}, observer);
    EXPECT_EQ(report.policies.size(), default_policies().size() - 1); // all but h2o
    EXPECT_THAT(notes, ::testing::ElementsAre(HasSubstr("left out: h2o")));
}

TEST_F(Replay, WithoutEvaluationStepsThereAreRetainedSetsAndNoLosses)
{
    auto options = small_options();
    options.eval_len = 0;
    synthesize_trace(options, trace_);
    std::vector<std::string> notes;
    ReplayObserver observer;
    observer.note = [&](const std::string& note) { notes.push_back(note); };
    const auto report = replay(Trace(trace_), {{parse_policy("snapkv")}, "50"}, observer);
    EXPECT_EQ(retained({report, 0, 0}), 300);
    EXPECT_FALSE(losses({report, 0, 0}).has_value());
    EXPECT_EQ(notes.size(), 1U);
}

TEST_F(Replay, ATraceThatDoesNotVerifyIsRefused)
{
    const auto info = synthesize_info(small_options());
    TraceWriter writer(trace_, info, {});
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        auto view = synthesize_layer(small_options(), layer);
        if (layer == 1) {
            view.attn_out = view.attn_out * 1.001;
        }
        writer.write_layer(view);
    }
    writer.finish();
    EXPECT_THAT(
        [&] { run("snapkv", "50"); }, ThrowsMessage<Error>(HasSubstr("layer 1: the attention output recomputed")));
    ReplayOptions options{{parse_policy("snapkv")}, "50"};
    options.verify = false;
    EXPECT_NO_THROW(replay(Trace(trace_), options));
}

TEST_F(Replay, EqualRetentionGivesTheRuleTheBudgetWhoseTotalIsNearest)
{
    ReplayOptions options;
    options.policies = {parse_policy("lava@official"), parse_policy("snapkv")};
    options.budgets = "50,80,150";
    options.match = BudgetMatch::both;
    const auto report = replay(Trace(trace_), options);
    ASSERT_EQ(report.policies.size(), 3U);
    EXPECT_EQ(report.policies[0].match, "nominal");
    EXPECT_EQ(report.policies[1].match, "retained");
    EXPECT_EQ(report.policies[2].match, "both"); // snapkv keeps what is asked
    std::string every;
    for (int budget = 33; budget <= 200; ++budget) {
        every += every.empty() ? "" : ",";
        every += std::to_string(budget);
    }
    const auto all = run("lava@official", every);
    const auto& matched = report.policies[1];
    for (std::size_t g = 0; g < 3; ++g) {
        const auto target = matched.budgets[g] * 6;
        EXPECT_EQ(matched.asked[g], target);
        auto best = std::numeric_limits<std::int64_t>::max();
        std::int64_t nominal = 0;
        for (std::size_t i = 0; i < all.policies[0].budgets.size(); ++i) {
            const auto distance = std::abs(retained(Cell{all, 0, i}) - target);
            if (distance < best) {
                best = distance;
                nominal = all.policies[0].budgets[i];
            }
        }
        EXPECT_EQ(matched.nominal[g], nominal);
        EXPECT_EQ(std::abs(retained(Cell{report, 1, g}) - target), best);
    }
}

TEST_F(Replay, ProtectedEntriesStayAndCountInsideTheBudget)
{
    const auto report = run("snapkv:protect=first:5+last:40", "46,80");
    for (std::size_t g = 0; g < 2; ++g) {
        const Cell cell{report, 0, g};
        for (std::int64_t layer = 0; layer < 3; ++layer) {
            const auto kept = kept_positions(cell, {layer, 1});
            EXPECT_EQ(static_cast<std::int64_t>(kept.size()), report.policies[0].budgets[g]);
            EXPECT_EQ(kept[4], 4);
            EXPECT_EQ(kept[kept.size() - 40], 160);
        }
    }
    EXPECT_THAT([&] { run("snapkv:protect=first:5+last:40", "45"); },
        ThrowsMessage<Error>(HasSubstr("leaves nothing to choose: snapkv:protect=first:5+last:40 reserves 45")));
    EXPECT_THAT([&] { run("snapkv:protect=span:needle", "80"); },
        ThrowsMessage<Error>(HasSubstr("no span 'needle'; the trace marks: ")));
    EXPECT_THAT([&] { run("snapkv:protect=first:201", "80"); },
        ThrowsMessage<Error>(HasSubstr("expected at most the prompt's 200 tokens, found first:201")));
    for (const auto* list : {"first", "first:", "first:0", "middle:3", "first:4+", "span:"}) {
        EXPECT_THROW(run("snapkv:protect=" + std::string(list), "80"), UsageError) << list;
    }
}

} // namespace
} // namespace lava
