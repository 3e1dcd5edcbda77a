// Compositions, and the presets' variants.

#include "replay/policies/compose.h"

#include "base/error.h"
#include "replay/policies/composition.h"
#include "replay/policies/headkv.h"
#include "replay/policies/registry.h"
#include "synthetic.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

namespace lava {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::small_options;
using ::testing::ThrowsMessage;

LayerScores scored(const std::string& policy, std::int64_t layer = 1)
{
    const auto view = synthesize_layer(small_options(), layer);
    const LayerInputs inputs(view, 40);
    const auto made = parse_policy(policy).make();
    const auto expanded = per_query_head(view);
    return made->score(made->per_query_head() ? inputs.seen_by_query_heads(expanded) : inputs);
}

void expect_same_scores(const std::string& a, const std::string& b)
{
    const auto left = scored(a);
    const auto right = scored(b);
    EXPECT_TRUE(at::equal(left.entries, right.entries)) << a << " and " << b;
    EXPECT_EQ(left.weight, right.weight) << a << " and " << b;
}

TEST(Compose, NamedPoliciesAreCompositions)
{
    expect_same_scores("compose", "snapkv");
    expect_same_scores("compose:pool=none,score=columns", "h2o");
    expect_same_scores("compose:value_norm=token,gqa_at=post_pool", "vatp");
    expect_same_scores("compose:value_norm=all,gqa_at=post_pool,gqa=max,layers=entropy", "lava");
    expect_same_scores("compose:reduce=variance,pool=avg,kernel=5,gqa_at=post_pool,layers=preference", "cake");
    expect_same_scores("compose:score=loo,reduce=max,heads=layer", "loo");
}

TEST(Compose, KeysAloneScoreAsTheirPoliciesDo)
{
    expect_same_scores("compose:score=knorm,window=0,pool=none", "knorm");
    expect_same_scores("compose:score=keydiff,window=0,pool=none", "keydiff");
    const auto behind_a_window = scored("compose:score=keydiff,pool=none").entries;
    EXPECT_TRUE(at::equal(behind_a_window, scored("keydiff").entries.narrow(1, 0, 168)));
    EXPECT_EQ(parse_policy("compose:score=knorm,layers=model,heads=layer").make()->query_rows(), 0);
}

TEST(Compose, TheLastQueryAloneMayScoreWhatIsNotInAWiderWindow)
{
    const auto last = scored("compose:score=last,pool=none,gqa=sum").entries;
    const auto view = synthesize_layer(small_options(), 1);
    const auto attention = LayerInputs(view, 1).window_attention(1).view({2, 3, 200}).sum(1);
    EXPECT_TRUE(at::allclose(last, attention.narrow(1, 0, 168)));
}

TEST(Compose, AGroupMayBeTheWholeLayer)
{
    const auto entries = scored("compose:window=1,pool=none,gqa=layer").entries;
    const auto attention = LayerInputs(synthesize_layer(small_options(), 1), 1).window_attention(1).view({6, 200});
    const auto mean = attention.mean(0, true).narrow(1, 0, 199).expand({2, 199});
    EXPECT_TRUE(at::allclose(entries, mean));
    EXPECT_TRUE(at::equal(entries[0], entries[1]));
}

TEST(Compose, SpellsAPolicyWithItsParameters)
{
    const auto spelled = [](const char* policy) { return composition_of(parse_policy(policy)); };
    EXPECT_EQ(spelled("snapkv"), "compose");
    EXPECT_EQ(spelled("snapkv:window=16,protect=first:2"), "compose:window=16,protect=first:2");
    EXPECT_EQ(spelled("lava@official:alpha=0.3"),
        "compose:value_norm=prefix,gqa=max,gqa_at=post_pool,layers=entropy,heads=layer,floor=0.3,floor_of=nominal");
    EXPECT_EQ(spelled("dropkv:project=wo"), "compose:score=dropkv-wo,reduce=sum,pool=none,gqa_at=post_pool");
    EXPECT_EQ(spelled("keydiff"), "compose:score=keydiff,window=0,pool=none");
    for (const auto* more : {"keydiff:block=16", "snapkv@kvpress", "knorm@kvcache-factory", "headkv:file=shares.json",
             "random", "compose:score=loo"}) {
        EXPECT_EQ(spelled(more), "") << more;
    }
}

TEST(Compose, PiecesThatDoNotFitAreNamed)
{
    const auto make = [](const char* text) { return [text] { parse_policy(text).make(); }; };
    EXPECT_THAT(make("compose:score=loo,precision=emulate_bf16"), ThrowsMessage<UsageError>(HasSubstr("precision")));
    EXPECT_THAT(make("compose:score=loo,reduce=variance"), ThrowsMessage<UsageError>(HasSubstr("reduce")));
    EXPECT_THAT(make("compose:window=0"), ThrowsMessage<UsageError>(HasSubstr("window")));
    EXPECT_THAT(make("compose:window=1,layers=preference"), ThrowsMessage<UsageError>(HasSubstr("window")));
    EXPECT_THAT(make("compose:score=knorm,value_norm=token"), ThrowsMessage<UsageError>(HasSubstr("score")));
    EXPECT_THAT(make("compose:score=keydiff,layers=entropy"), ThrowsMessage<UsageError>(HasSubstr("score")));
    EXPECT_THAT(make("compose:score=loo,rows=5"), ThrowsMessage<UsageError>(HasSubstr("rows")));
    EXPECT_THAT(make("compose:recent=half,layers=pyramid"), ThrowsMessage<UsageError>(HasSubstr("recent")));
    EXPECT_THAT(make("compose:recent=even,heads=layer"), ThrowsMessage<UsageError>(HasSubstr("recent")));
    EXPECT_THAT(make("compose:sinks=4,layers=entropy"), ThrowsMessage<UsageError>(HasSubstr("sinks")));
    EXPECT_THAT(make("compose:layers=table"), ThrowsMessage<UsageError>(HasSubstr("table")));
    EXPECT_THAT(make("compose:table=budgets.csv"), ThrowsMessage<UsageError>(HasSubstr("table")));
}

BudgetRequest request_of(
    std::int64_t layers, std::int64_t heads, std::int64_t seq_len, std::int64_t window, std::int64_t budget)
{
    return {{.num_layers = layers, .num_heads = heads, .num_kv_heads = heads, .head_dim = 1, .hidden_size = 1}, seq_len,
        window, budget};
}

std::filesystem::path write(const TemporaryFolder& folder, const std::string& text)
{
    auto path = folder.path() / "table.csv";
    std::ofstream(path) << text;
    return path;
}

TEST(LayerTable, ScalesItsProportionsToTheBudget)
{
    const TemporaryFolder folder;
    const auto table = write(folder, "layer,budget\n0,60\n1,20\n2,10\n").string();
    const auto policy = parse_policy("compose:window=8,layers=table,table=" + table).make();
    EXPECT_THAT(policy->allocate({}, request_of(3, 1, 100, 8, 30)).granted, ElementsAre(52, 12, 2)); // the table's own
    EXPECT_THAT(policy->allocate({}, request_of(3, 1, 100, 8, 15)).granted, ElementsAre(22, 2, 0));
}

TEST(LayerTable, IsOfTheTracesLayers)
{
    const TemporaryFolder folder;
    const auto table = write(folder, "layer,budget\n0,60\n1,20\n").string();
    const auto policy = parse_policy("compose:window=8,layers=table,table=" + table).make();
    const auto view = synthesize_layer(small_options(), 0);
    EXPECT_THAT([&] { policy->score(LayerInputs(view, 8)); },
        ThrowsMessage<Error>(HasSubstr("expected budgets of 3 layers (the trace's), found 2")));
}

TEST(LayerTable, MalformedLinesAreNamed)
{
    const TemporaryFolder folder;
    const auto reading = [&](const char* text) {
        return [&folder, text] { parse_policy("compose:layers=table,table=" + write(folder, text).string()).make(); };
    };
    EXPECT_THAT(reading("0,60\n"), ThrowsMessage<Error>(HasSubstr("line 1: expected the header layer,budget")));
    EXPECT_THAT(reading("layer,budget\n0,60\n2,5\n"), ThrowsMessage<Error>(HasSubstr("line 3: expected 1,BUDGET")));
    EXPECT_THAT(reading("layer,budget\n0,-1\n"), ThrowsMessage<Error>(HasSubstr("line 2")));
    EXPECT_THAT(reading("layer,budget\n0,0\n"), ThrowsMessage<Error>(HasSubstr("not all 0")));
}

TEST(HeadKv, SharesAPoolByImportanceOverASmallFloor)
{
    // 128 // 1.01 = 126 of each head are pooled, 2 stay
    EXPECT_THAT(headkv_capacities(std::vector{0.5, 0.25, 0.125, 0.125}, 128), ElementsAre(254, 128, 65, 65));
    EXPECT_THAT(headkv_capacities(std::vector{0.5, 0.5}, 101), ElementsAre(101, 101)); // 101 // 1.01 is 99 in floats
    EXPECT_THAT(headkv_capacities(std::vector{0.25, 0.75}, 3), ElementsAre(2, 4)); // 2 of each pooled
}

TEST(HeadKv, ReadsImportancesInTheOrderOfLayersAndHeads)
{
    const TemporaryFolder folder;
    const auto file = write(folder, R"({"0-10": [4], "0-2": [1, 3], "1-0": 2})").string();
    EXPECT_THAT(read_head_shares(file), ElementsAre(0.25, 0.5, 0.25));
    for (const auto* text : {"[]", "{}", R"({"0": [1]})", R"({"0-0": ["x"]})", R"({"0-0": []})", R"({"0-0": [0]})"}) {
        const auto malformed = write(folder, text).string();
        EXPECT_THAT([&] { read_head_shares(malformed); }, ThrowsMessage<Error>(HasSubstr(malformed))) << text;
    }
}

TEST(HeadKv, KeepsTheWindowOnTopAndWithinAGroupTheMean)
{
    const TemporaryFolder folder;
    const auto file = write(folder, R"({"0-0": 4, "0-1": 2, "0-2": 1, "0-3": 1})").string();
    BudgetRequest asked = request_of(1, 2, 200, 8, 128);
    asked.shape.num_heads = 4;
    const auto grouped = parse_policy("headkv:window=8,file=" + file).make()->allocate({}, asked);
    EXPECT_THAT(grouped.granted, ElementsAre(191, 65));
    asked.shape.num_kv_heads = 4;
    const auto each = parse_policy("headkv@kvcache-factory:file=" + file).make()->allocate({}, asked);
    EXPECT_THAT(each.granted, ElementsAre(254, 128, 65, 65));
    EXPECT_THAT(each.retained, ElementsAre(192, 128, 65, 65));
}

TEST(QueryHeadLayout, EveryQueryHeadRanksByItsOwnAttention)
{
    const auto view = synthesize_layer(small_options(), 1);
    const auto attention = LayerInputs(view, 40).mean_window_attention(32);
    const auto entries = scored("snapkv:layout=query_head,pool=none").entries;
    EXPECT_TRUE(at::equal(entries, attention)); // [6, 168]
    EXPECT_TRUE(parse_policy("ada-snapkv@adakv").make()->per_query_head());
}

TEST(Variants, HoldTheirProjectsDefaults)
{
    const auto text = [](const char* policy, const char* name) { return parse_policy(policy).params.text(name); };
    EXPECT_EQ(text("snapkv@adakv-class", "window"), "64");
    EXPECT_EQ(text("snapkv@adakv-class", "pool"), "avg");
    EXPECT_EQ(text("ada-snapkv@kvcache-factory", "normalize"), "on");
    EXPECT_EQ(text("ada-snapkv@kvcache-factory", "window"), "8");
    EXPECT_EQ(text("cake@cakekv-mistral-0.3-128", "tau2"), "0.8");
    EXPECT_EQ(text("lava@official-inference", "alpha"), "0.5");
}

TEST(KvcacheFactory, PyramidsAreUniformForPromptsShorterThanTwiceTheBudget)
{
    const auto policy = parse_policy("pyramidkv@kvcache-factory").make();
    EXPECT_THAT(policy->allocate({}, request_of(3, 1, 239, 8, 128)).granted, ElementsAre(120, 120, 120));
    EXPECT_THAT(policy->allocate({}, request_of(3, 1, 1000, 8, 128)).granted, ElementsAre(234, 120, 6));
}

TEST(PyramidKv, MayBeFrozenOnAnEarlierPrompt)
{
    // budget 1024 at N = 1500: clipped to 1468 in the first layer, 538 in the last, whatever the prompt at hand
    const auto policy = parse_policy("pyramidkv:pyramid_ref_N=1500").make();
    const auto granted = policy->allocate({}, request_of(32, 1, 9000, 32, 1024)).granted;
    EXPECT_EQ(granted.front(), 1468);
    EXPECT_EQ(granted.back(), 538);
}

TEST(PyramidKv, ThePapersScheduleIsInRealNumbers)
{
    // 2 * 128 - 6.4 = 249.6 down to 6.4, window included
    const auto policy = parse_policy("pyramidkv@paper:window=4").make();
    EXPECT_THAT(policy->allocate({}, request_of(3, 1, 1000, 4, 128)).granted, ElementsAre(245, 124, 2));
}

TEST(StreamingLlm, FactorysNeedleRunnerKeepsAFixedNumberOfRecents)
{
    const auto policy = parse_policy("streaming-llm@kvcache-factory-needle").make();
    EXPECT_EQ(policy->window(), 32);
    const auto entries = scored("streaming-llm@kvcache-factory-needle").entries;
    EXPECT_GT(entries[0][0].item<float>(), entries[0][1].item<float>());
}

TEST(Precision, EmulationRoundsToTheModelsType)
{
    for (const auto* type : {"emulate_bf16", "emulate_fp16"}) {
        const auto entries = scored(std::string("snapkv:precision=") + type).entries;
        const auto exact = scored("snapkv").entries;
        EXPECT_FALSE(at::equal(entries, exact)) << type;
        EXPECT_TRUE(at::allclose(entries, exact, 0.05, 1e-3)) << type;
        EXPECT_TRUE(at::equal(entries, rounded(entries, parse_precision(type)))) << type;
    }
}

TEST(Precision, LavasEntropyInBf16LiesOnItsGrid)
{
    const auto claim = scored("lava@official:precision=emulate_bf16").weight;
    EXPECT_EQ(claim * 512, std::floor(claim * 512));
    EXPECT_NEAR(claim, scored("lava@official").weight, 0.02);
}

TEST(Precision, LavasEntropyInFp16FailsWhereAScoreIsZero)
{
    const auto view = synthesize_layer(small_options(), 1);
    const LayerInputs inputs(view, 32);
    auto scores = at::ones({2, 50});
    scores[0][0] = 1e-4;
    EXPECT_GT(rounded_score_entropy(inputs, scores, Precision::fp16), 0.9);
    scores[0][0] = 0;
    EXPECT_THAT([&] { rounded_score_entropy(inputs, scores, Precision::fp16); },
        ThrowsMessage<Error>(HasSubstr("layer 1: the entropy of its scores is no number in fp16")));
    EXPECT_GT(rounded_score_entropy(inputs, scores, Precision::bf16), 0.9);
}

} // namespace
} // namespace lava
