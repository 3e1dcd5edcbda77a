// Policies of kvpress 0.5.5 that keep sets rather than rank, or read files, on examples worked out by hand.

#include "analysis/npy.h"
#include "base/error.h"
#include "replay/policies/numbers_file.h"
#include "replay/policies/registry.h"
#include "replay/retention.h"
#include "replay/scores/compactor.h"
#include "small_layers.h"
#include "tests/temporary_folder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

namespace lava {
namespace {

using ::testing::ElementsAre;
using testing::floats;
using ::testing::HasSubstr;
using testing::layer_of;
using testing::near;
using testing::request_of;
using testing::scores;
using testing::scores_at;
using ::testing::ThrowsMessage;
using testing::to_floats;

std::string write(const std::filesystem::path& file, const std::string& text)
{
    std::ofstream(file) << text;
    return file.string();
}

std::vector<float> as_floats(const at::Tensor& numbers)
{
    return to_floats(numbers.to(at::kFloat));
}

BudgetRequest at_ratio(const LayerView& layer, double ratio)
{
    auto request = request_of(layer, std::max<std::int64_t>(1, static_cast<std::int64_t>(layer.seq_len * (1 - ratio))));
    request.ratio = ratio;
    return request;
}

// What a policy keeps of one layer's heads.
std::vector<std::int64_t> counts(const std::string& text, const LayerView& layer, const BudgetRequest& request)
{
    const auto policy = parse_policy(text).make();
    const auto found = policy->score(LayerInputs(layer, layer.window));
    std::vector<RankedLayer> layers{rank_layer(policy->at_budget(found, request), layer.seq_len, policy->window())};
    merge_heads(layers.front());
    return policy->allocate(layers, request).retained;
}

LayerView plain_layer(std::int64_t heads, std::int64_t tokens)
{
    return layer_of(at::ones({heads, tokens, 1}), at::ones({heads, tokens, 1}), 1);
}

TEST(DuoAttention, TheLowestHeadsKeepFirstAndRecentTokens)
{
    const TemporaryFolder folder;
    const auto policy = "duo-attention:sinks=1,recent=2,file=" + write(folder / "heads.tsv", "0.5\t-3\t0.0\t7\n");
    const auto layer = plain_layer(4, 10);
    // clipped to 0.5 0 0 1: of equal ones the first. round(4 * 0.375) = round(1.5) = 2, half to even
    EXPECT_THAT(counts(policy, layer, at_ratio(layer, 0.2)), ElementsAre(10, 3, 10, 10));
    EXPECT_THAT(counts(policy, layer, at_ratio(layer, 0.375)), ElementsAre(10, 3, 3, 10));
    // 40 entries, a streaming head gives up 7: 8 a head is 32, nearest 33
    EXPECT_THAT(counts(policy, layer, request_of(layer, 8)), ElementsAre(10, 3, 10, 10));
}

TEST(SimLayerKv, ALazyLayerKeepsFirstAndRecentTokens)
{
    // weights 4 | 1 1 1 | 2 and the last token itself 1 of 10: first and recent are paid 0.6
    const auto layer = layer_of(floats({4, 1, 1, 1, 1, 1, 1}).log().view({1, 7, 1}), at::ones({1, 7, 1}), 1);
    const std::string sizes = "last=1,recent=2,sinks=1";
    const auto request = request_of(layer, 7);
    EXPECT_THAT(counts("simlayerkv:threshold=0.59," + sizes, layer, request), ElementsAre(2)); // 1 + 2 - 1
    EXPECT_THAT(counts("simlayerkv:threshold=0.61," + sizes, layer, request), ElementsAre(7));
    EXPECT_THAT(counts("simlayerkv@kvpress:" + sizes, layer, request), ElementsAre(7)); // a threshold of 1: off
    EXPECT_THAT(scores("simlayerkv:threshold=0.59," + sizes, layer)[6], 6);
}

TEST(ChunkKv, KeepsWholeChunksAlikeInEveryHead)
{
    // sums over heads -2 -4 | -6 -2 | -1: means -3, -4, -1
    const auto k = floats({1, 2, 3, 1, 0.5F, /**/ 1, 2, 3, 1, 0.5F}).view({2, 5, 1});
    const auto layer = layer_of(k, k, 1);
    const std::string policy = "chunkkv:base=knorm,chunk=2";
    EXPECT_THAT(scores(policy, layer), near({-3, -3, -4, -4, -1, -3, -3, -4, -4, -1}));
    EXPECT_THAT(counts(policy, layer, at_ratio(layer, 0.3)), ElementsAre(3, 3)); // int(3 * 0.7) = 2: one is shorter
    EXPECT_THAT(counts(policy, layer, at_ratio(layer, 0.9)), ElementsAre(1, 1));
    EXPECT_THAT(counts("chunkkv:base=knorm,chunk=9", layer, request_of(layer, 2)), ElementsAre(2, 2));
}

TEST(Chunk, EachPartKeepsItsShare)
{
    const auto k = floats({1, 2, 3, 4, 5}).view({1, 5, 1});
    const auto layer = layer_of(k, k, 1);
    // of 3 and 2 tokens int(3 * 0.5) = 1 and 1
    const auto policy = parse_policy("chunk:base=knorm,length=3").make();
    const auto kept = policy->at_budget(policy->score(LayerInputs(layer, 0)), at_ratio(layer, 0.5));
    EXPECT_THAT(to_floats(kept.entries), ElementsAre(1, 0, 0, 1, 0));
    EXPECT_THAT(kept.head_counts, ElementsAre(2));
    EXPECT_THAT([] { parse_policy("chunk:base=snapkv").make(); },
        ThrowsMessage<UsageError>(HasSubstr("a trace does not have the queries of every chunk")));
}

TEST(PerLayer, ReadsARatioForEveryLayer)
{
    const TemporaryFolder folder;
    auto layer = plain_layer(1, 10);
    layer.shape.num_layers = 3;
    const auto policy = parse_policy("per-layer:base=knorm,file=" + write(folder / "r.txt", "0\n0.8\n0.99\n")).make();
    EXPECT_THAT(policy->allocate({}, request_of(layer, 1)).retained, ElementsAre(10, 1, 1)); // int(10 * 0.2) is 1
    EXPECT_TRUE(policy->ignores_budget());
}

TEST(QFilter, ProjectsKeysOnTheHeadsFilter)
{
    const TemporaryFolder folder;
    const auto layer = layer_of(floats({1, 2, /**/ 3, 4}).view({1, 2, 2}), at::ones({1, 2, 2}), 1);
    EXPECT_THAT(scores("qfilter:file=" + write(folder / "f.json", "[[[1, -1]]]"), layer), near({1, 1}));
    EXPECT_THAT(scores("qfilter:file=" + write(folder / "g.json", "[[[2, 1]]]"), layer), near({-4, -10}));
}

TEST(KvZip, OneCutGoesThroughAllLayers)
{
    std::vector<RankedLayer> layers;
    auto layer = plain_layer(1, 5);
    layer.shape.num_layers = 2;
    const auto policy = parse_policy("kvzip:sinks=1").make();
    for (const auto& maxima : {std::vector<float>{0, 0.9F, 0.8F, 0.7F, 0.6F}, {0, 0.1F, 0.2F, 0.3F, 0.65F}}) {
        layer.repeat_maxima = floats(maxima).view({1, 5});
        layers.push_back(rank_layer(policy->score(LayerInputs(layer, 0)), 5, 0));
    }
    // int(10 * 0.35) = 3 are evicted: .1 .2 .3; every layer by itself: int(5 * 0.35) = 1
    EXPECT_THAT(policy->allocate(layers, at_ratio(layer, 0.35)).retained, ElementsAre(5, 2));
    EXPECT_THAT(
        parse_policy("kvzip:layerwise=on").make()->allocate(layers, at_ratio(layer, 0.35)).retained, ElementsAre(4, 4));
}

TEST(Leverage, OfKeysAroundTheirMean)
{
    // Gram matrix diag(10, 2) + 0.01, as numpy gives it
    const auto k = floats({1, 0, 0, 1, -1, 0, 0, -1, 2, 0, -2, 0}).view({1, 6, 2});
    const auto found = leverage_scores(k, {.dimension = 0});
    EXPECT_THAT(to_floats(found), near({0.0999001F, 0.4975124F, 0.0999001F, 0.4975124F, 0.3996004F, 0.3996004F}));
    EXPECT_FALSE(at::equal(leverage_scores(k, {48, 0, 0}), leverage_scores(k, {48, 0, 1})));
    EXPECT_TRUE(at::equal(leverage_scores(k, {48, 3, 1}), leverage_scores(k, {48, 3, 1})));
    EXPECT_THAT(to_floats(standardised(floats({1, 2, 3}))), near({-1, 0, 1}));
}

TEST(NonCausal, PaddingCountsAsKeysAndQueries)
{
    // chunk of 2: queries 1 and 0 over keys 0 and 1; then query 2 and a padded one over key 1 and a padded one
    const auto found = chunk_attention_sums(floats({1, 0, 2}).view({1, 3, 1}), floats({0, 1, 1}).view({1, 3, 1}), 2);
    EXPECT_THAT(to_floats(found), near({0.7689414F, 1.2310586F, 1.3807971F}));
}

TEST(Compactor, FirstAndLastTokensTieWithTheBest)
{
    auto layer = layer_of(at::arange(12, at::kFloat).view({1, 6, 2}), at::ones({1, 6, 2}), 6);
    layer.q_window = at::arange(12, at::kFloat).view({1, 6, 2}) / 10;
    const auto found = scores_at("compactor:first=1,last=1,sketch=0", layer, 3);
    const auto best = *std::max_element(found.begin() + 1, found.end() - 1);
    EXPECT_EQ(found.front(), best);
    EXPECT_EQ(found.back(), best);
    EXPECT_EQ(parse_policy("compactor").make()->needs().all_queries, true);
}

TEST(NumbersFile, ReadsNumpysFormat)
{
    const TemporaryFolder folder;
    write_npy(folder / "a.npy", {{1, 2}, {0.5, -2}});
    EXPECT_THAT(as_floats(NumbersFile((folder / "a.npy").string()).of_shape({1, 2})), ElementsAre(0.5, -2));
}

TEST(NumbersFile, SaysWhatDoesNotFit)
{
    const TemporaryFolder folder;
    const auto rows = write(folder / "rows.csv", "1, 2\n3, 4\n\n");
    EXPECT_THAT(as_floats(NumbersFile(rows).of_shape({2, 2})), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(
        [&] {
            NumbersFile(rows).of_shape({3, 2});
        },
        ThrowsMessage<Error>(rows + ": expected numbers [3, 2] (the trace's), found [2, 2]"));
    EXPECT_THROW(NumbersFile(write(folder / "ragged.csv", "1, 2\n3\n")).of_shape({2, 2}), Error);
    EXPECT_THROW(NumbersFile(write(folder / "words.csv", "a b\n")).of_shape({1, 2}), Error);
    EXPECT_THROW(NumbersFile(write(folder / "ragged.json", "[[1, 2], [3]]")).of_shape({2, 2}), Error);
    EXPECT_THROW(NumbersFile((folder / "missing.npy").string()), Error);
}

} // namespace
} // namespace lava
