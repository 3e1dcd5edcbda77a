#include "model/decoder.h"

#include "base/error.h"
#include "compute/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::filesystem::path folder = LAVA_SOURCE_DIR "/models/stories260K";
const double logit_tolerance = 1e-4; // absolute; float32 in another order of sums

nlohmann::json reference()
{
    std::ifstream in(LAVA_SOURCE_DIR "/tests/data/stories260K_reference.json");
    return nlohmann::json::parse(in);
}

/// Token ids of the reference's greedy continuation, BOS first.
std::vector<std::int64_t> reference_ids()
{
    return reference()["token_ids"].get<std::vector<std::int64_t>>();
}

Decoder stories()
{
    return Decoder(Checkpoint(folder), {});
}

/// Keeps what it sees of one layer.
struct Recorder : Observer
{
    explicit Recorder(std::int64_t which)
        : layer_wanted(which)
    { }
    void on(std::string_view name, std::int64_t layer, const at::Tensor& value) override
    {
        order.push_back(std::string(name) + "@" + std::to_string(layer));
        if (layer == layer_wanted)
            seen[std::string(name)] = value.clone();
    }
    std::int64_t layer_wanted;
    std::vector<std::string> order;
    std::map<std::string, at::Tensor> seen;
};

double largest_difference(const at::Tensor& a, const at::Tensor& b)
{
    return (a - b).abs().max().item<double>();
}

TEST(Stories260K, ContinuesGreedilyAsLlama2C)
{
    const auto expected = reference_ids();
    const auto decoder = stories();
    KvCache cache;
    std::vector<std::int64_t> ids{expected.front()};
    while (ids.size() < expected.size()) {
        const auto logits = decoder.forward(std::span(ids).last(1), cache, nullptr, false);
        ids.push_back(logits.argmax().item<std::int64_t>());
    }
    EXPECT_EQ(ids, expected);
}

TEST(Stories260K, HasTransformersLogits)
{
    const auto values = reference();
    const auto ids = reference_ids();
    KvCache cache;
    const auto logits = stories().forward(ids, cache, nullptr, true);
    ASSERT_EQ(logits.sizes(), (at::IntArrayRef{201, 512}));
    for (const auto& row : values["logits"]) {
        const auto expected = at::tensor(row["values"].get<std::vector<double>>(), at::kDouble);
        const auto found = logits[row["position"].get<std::int64_t>()];
        EXPECT_LT(largest_difference(found, expected), logit_tolerance) << "position " << row["position"];
    }
}

TEST(Decoder, RunsInChunksAsInOne)
{
    const auto decoder = stories();
    const auto ids = reference_ids();
    KvCache whole, chunked;
    const auto expected = decoder.forward(ids, whole, nullptr, true);
    const auto all = std::span(ids);
    const auto first = decoder.forward(all.first(130), chunked, nullptr, true);
    const auto rest = decoder.forward(all.subspan(130), chunked, nullptr, false);
    EXPECT_LT(largest_difference(first, expected.narrow(0, 0, 130)), logit_tolerance);
    ASSERT_EQ(rest.sizes(), (at::IntArrayRef{1, 512}));
    EXPECT_LT(largest_difference(rest[0], expected[200]), logit_tolerance);
    EXPECT_EQ(chunked.length(), 201);
    EXPECT_LT(largest_difference(chunked.k[4], whole.k[4]), 1e-5);
    EXPECT_LT(largest_difference(chunked.v[4], whole.v[4]), 1e-5);
}

TEST(Decoder, ShowsEveryHookInTheShapeItPromises)
{
    const auto decoder = stories();
    const auto ids = reference_ids();
    KvCache cache;
    decoder.forward(std::span(ids).first(20), cache, nullptr, false);
    Recorder recorder(3);
    decoder.forward(std::span(ids).subspan(20, 7), cache, &recorder, false);

    const std::map<std::string, std::vector<std::int64_t>> expected{{"attn_in", {7, 64}}, {"q_pre_rope", {8, 7, 8}},
        {"q", {8, 7, 8}}, {"k", {4, 7, 8}}, {"v", {4, 7, 8}}, {"z", {7, 64}}, {"attn_out", {7, 64}},
        {"resid_pre", {7, 64}}, {"resid_mid", {7, 64}}, {"mlp_out", {7, 64}}, {"resid_post", {7, 64}},
        {"observed_attention", {8, 27}}, {"observed_attention_off_diagonal", {8, 27}}};
    std::map<std::string, std::vector<std::int64_t>> found;
    for (const auto& [name, value] : recorder.seen)
        found[name] = value.sizes().vec();
    EXPECT_EQ(found, expected);
    EXPECT_EQ(recorder.order.size(), 5 * expected.size());
    EXPECT_EQ(recorder.order.front(), "resid_pre@0");
    EXPECT_EQ(recorder.order.back(), "resid_post@4");
}

TEST(Decoder, HooksAreTheResidualStreamsOwnSums)
{
    const auto decoder = stories();
    const auto ids = reference_ids();
    KvCache cache;
    Recorder recorder(2);
    decoder.forward(ids, cache, &recorder, false);
    auto& seen = recorder.seen;
    EXPECT_TRUE(at::equal(seen["resid_mid"], seen["resid_pre"] + seen["attn_out"]));
    EXPECT_TRUE(at::equal(seen["resid_post"], seen["resid_mid"] + seen["mlp_out"]));
    EXPECT_LT(largest_difference(seen["attn_out"], at::linear(seen["z"], decoder.w_o(2))), 1e-5);
    EXPECT_TRUE(at::equal(seen["k"], cache.k[2]));
    EXPECT_TRUE(at::equal(seen["v"], cache.v[2]));
    // every query's probabilities sum to one
    const auto total = seen["observed_attention"].to(at::kDouble).sum(1);
    EXPECT_LT((total - 201).abs().max().item<double>(), 1e-3);
}

TEST(Decoder, AnObserverGetsOnlyWhatItWants)
{
    struct Keys : Observer
    {
        void on(std::string_view name, std::int64_t, const at::Tensor&) override { calls.emplace_back(name); }
        bool wants(std::string_view name) const override { return name == "k"; }
        std::vector<std::string> calls;
    } keys;
    KvCache cache;
    const std::vector<std::int64_t> ids{1, 403};
    stories().forward(ids, cache, &keys, false);
    EXPECT_EQ(keys.calls, std::vector<std::string>(5, "k"));
}

TEST(Decoder, HalfPrecisionStaysNearFloat32)
{
    const auto ids = reference_ids();
    KvCache exact, half;
    const auto expected = stories().forward(ids, exact, nullptr, true);
    const Decoder decoder(Checkpoint(folder), {.device = "cpu", .dtype = "bfloat16"});
    EXPECT_EQ(decoder.options().dtype, "bfloat16");
    const auto found = decoder.forward(ids, half, nullptr, true);
    EXPECT_EQ(half.k[0].scalar_type(), at::kBFloat16);
    EXPECT_EQ(found.scalar_type(), at::kFloat);
    EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 3e-2); // bfloat16 keeps 8 bits
}

TEST(Decoder, ItsPiecesMakeAForwardPass)
{
    const auto decoder = stories();
    const auto ids = reference_ids();
    KvCache cache;
    const auto expected = decoder.forward(ids, cache, nullptr, true);

    auto x = decoder.embed(at::tensor(ids, at::kLong));
    const auto angles = decoder.rope_at(at::arange(201), 201);
    for (std::int64_t layer = 0; layer < 5; ++layer) {
        x = decoder.layer(layer, x, angles, [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            EXPECT_LT(largest_difference(k, cache.k[static_cast<std::size_t>(layer)]), 1e-5);
            return causal_attention(q, k, v, false).z;
        });
    }
    EXPECT_LT(largest_difference(decoder.logits(decoder.normalize(x)), expected), logit_tolerance);
}

TEST(Decoder, AnswersTheSameForAnyNumberOfThreads)
{
    const auto decoder = stories();
    const int before = at::get_num_threads();
    std::vector<std::int64_t> ids(500); // more rows than go through a layer together
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = 3 + static_cast<std::int64_t>(i) * 7919 % 509;
    const auto run = [&](int threads, Recorder& recorder) {
        at::set_num_threads(threads);
        KvCache cache;
        return decoder.forward(ids, cache, &recorder, true);
    };
    Recorder alone(4), shared(4);
    const auto expected = run(1, alone), found = run(3, shared);
    at::set_num_threads(before);
    EXPECT_TRUE(at::equal(expected, found));
    ASSERT_EQ(alone.seen.size(), 13U);
    for (const auto& [name, value] : alone.seen)
        EXPECT_TRUE(at::equal(value, shared.seen.at(name))) << name;
}

TEST(Decoder, TakesManyRowsAsItTakesFew)
{
    const auto decoder = stories();
    std::vector<std::int64_t> ids(500, 5);
    KvCache at_once, in_two;
    const auto expected = decoder.forward(ids, at_once, nullptr, true);
    const std::span<const std::int64_t> all(ids);
    const auto found = at::cat({decoder.forward(all.first(250), in_two, nullptr, true),
        decoder.forward(all.subspan(250), in_two, nullptr, true)});
    EXPECT_LT(largest_difference(expected, found), logit_tolerance);
}

TEST(Decoder, ReportsProgressPerLayer)
{
    auto decoder = stories();
    std::vector<std::int64_t> done;
    decoder.on_layer = [&](std::int64_t layers, std::int64_t of) { done.push_back(layers * 10 + of); };
    KvCache cache;
    const std::vector<std::int64_t> ids{1};
    decoder.forward(ids, cache, nullptr, false);
    EXPECT_THAT(done, testing::ElementsAre(15, 25, 35, 45, 55));
}

/// A copy of the model, its config.json changed.
class ChangedStories : public testing::Test
{
protected:
    void SetUp() override { std::filesystem::copy(folder, copy, std::filesystem::copy_options::recursive); }
    void TearDown() override { std::filesystem::remove_all(copy); }

    Decoder load(const nlohmann::json& changes) const
    {
        std::ifstream in(folder / "config.json");
        auto config = nlohmann::json::parse(in);
        config.merge_patch(changes);
        std::ofstream(copy / "config.json") << config;
        return Decoder(Checkpoint(copy), {});
    }

    const std::filesystem::path copy = std::filesystem::path(testing::TempDir())
        / (std::string("stories260K_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(ChangedStories, OfFewerLayersThanTheFileHoldsAreRefused)
{
    EXPECT_THAT(
        [&] {
            load({{"num_hidden_layers", 4}});
        },
        ThrowsMessage<Error>(HasSubstr("tensor model.layers.4.input_layernorm.weight: expected only what a llama model "
                                       "of 4 layers holds")));
}

TEST_F(ChangedStories, ThatShouldHaveABiasAreRefused)
{
    EXPECT_THAT(
        [&] {
            load({{"attention_bias", true}});
        },
        ThrowsMessage<Error>(
            HasSubstr("tensor model.layers.0.self_attn.q_proj.bias: expected shape [64], found no such")));
}

TEST(Decoder, RefusesWhatItCannotRun)
{
    const auto decoder = stories();
    KvCache cache;
    const auto run = [&](std::vector<std::int64_t> ids) { decoder.forward(ids, cache, nullptr, false); };
    EXPECT_THAT([&] { run({}); }, ThrowsMessage<Error>(HasSubstr("expected at least one token")));
    EXPECT_THAT([&] { run({1, 512}); }, ThrowsMessage<Error>(HasSubstr("token id 512: expected 0 to 511")));
    EXPECT_THAT([&] { run(std::vector<std::int64_t>(513, 1)); },
        ThrowsMessage<Error>(HasSubstr("expected at most 512 tokens")));
    run(std::vector<std::int64_t>(512, 1));
    EXPECT_THAT([&] { run({1}); }, ThrowsMessage<Error>(HasSubstr("found 513")));

    const auto load = [](DecoderOptions options) { Decoder(Checkpoint(folder), std::move(options)); };
    EXPECT_THAT([&] { load({.device = "gpu", .dtype = ""}); },
        ThrowsMessage<UsageError>(HasSubstr("expected cpu, cuda or cuda:N, found 'gpu'")));
    EXPECT_THAT([&] { load({.device = "cpu", .dtype = "int8"}); }, ThrowsMessage<Error>(HasSubstr("dtype 'int8'")));
}

} // namespace
} // namespace lava
