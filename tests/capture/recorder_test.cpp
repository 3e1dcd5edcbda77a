#include "capture/recorder.h"

#include "base/error.h"
#include "traces/layer_datasets.h"
#include "traces/trace.h"
#include "traces/verify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Ids = std::vector<std::int64_t>;

/// "Once upon a time, there was a little girl named Lily. She loved to play" as stories260K tokenizes it.
const Ids prompt_ids{1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267};

class StoriesRecording : public testing::Test
{
protected:
    static void SetUpTestSuite()
    {
        checkpoint_ = new Checkpoint(std::filesystem::path(LAVA_SOURCE_DIR) / "models/stories260K");
        decoder_ = new Decoder(*checkpoint_, {});
    }
    static void TearDownTestSuite()
    {
        delete decoder_;
        delete checkpoint_;
    }
    void TearDown() override { std::filesystem::remove(file_); }

    /// Captures into file_.
    Trace recorded(
        const Ids& ids, const Evaluation& evaluation, std::int64_t window, StoreOptions store = {},
        const RecordOptions& more = {}, const std::function<void()>& on_step = [] {}) const
    {
        TraceInfo info;
        info.generator = "test";
        info.model_name = "stories260K";
        info.run_dtype = "float32";
        info.device = "cpu";
        info.prompt_ids = ids;
        RecordOptions options = more;
        options.window = window;
        info = complete_info(info, decoder_->config(), evaluation, options);
        store.trace = file_;
        record_trace(*decoder_, info, evaluation, options, store, nullptr, on_step);
        return Trace(file_);
    }

    static Checkpoint* checkpoint_;
    static Decoder* decoder_;
    std::filesystem::path file_ = std::filesystem::path(testing::TempDir())
        / ("lava_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".h5");
};

Checkpoint* StoriesRecording::checkpoint_ = nullptr;
Decoder* StoriesRecording::decoder_ = nullptr;

TEST_F(StoriesRecording, VerifiesAgainstItself)
{
    const Trace trace = recorded(prompt_ids, {}, 8);
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        EXPECT_TRUE(verify_layer(trace.layer(layer)).holds()) << layer;
    }
}

TEST_F(StoriesRecording, HoldsTheDecodersCache)
{
    const Trace trace = recorded(prompt_ids, {.steps = 5, .reference = {}}, 8);
    Ids all = prompt_ids;
    all.insert(all.end(), trace.info().eval_ids.begin(), trace.info().eval_ids.end());
    KvCache cache;
    decoder_->forward(all, cache, nullptr, false);
    const auto seq_len = std::ssize(prompt_ids);
    for (std::size_t layer = 0; layer < cache.k.size(); ++layer) {
        const LayerView view = trace.layer(static_cast<std::int64_t>(layer));
        // one forward call against six: the products have other shapes
        EXPECT_TRUE(at::allclose(view.k, cache.k[layer].narrow(1, 0, seq_len), 1e-4, 1e-5));
        EXPECT_TRUE(at::allclose(view.v, cache.v[layer].narrow(1, 0, seq_len), 1e-4, 1e-5));
        EXPECT_TRUE(at::allclose(view.k_eval, cache.k[layer].narrow(1, seq_len, 5), 1e-4, 1e-5));
        EXPECT_TRUE(at::allclose(view.v_eval, cache.v[layer].narrow(1, seq_len, 5), 1e-4, 1e-5));
    }
}

/// Rows `indices` of the first dimension.
at::Tensor rows(const at::Tensor& tensor, const Ids& indices)
{
    return tensor.index_select(0, at::tensor(indices, at::kLong));
}

RecordOptions of_part(const Ids& layers, const Ids& kv_heads)
{
    RecordOptions options;
    options.part = {layers, kv_heads};
    return options;
}

TEST_F(StoriesRecording, OfAPartHoldsWhatTheWholeHoldsOfIt)
{
    for (const Evaluation& evaluation :
        {Evaluation{.steps = 5, .reference = {}}, Evaluation{.steps = 0, .reference = {403, 407}}}) {
        const Trace whole = recorded(prompt_ids, evaluation, 8);
        const Ids eval_ids = whole.info().eval_ids, layers{1, 4}, kv_heads{0, 3}, heads{0, 1, 6, 7};
        std::vector<LayerView> expected;
        for (const std::int64_t layer : layers) {
            expected.push_back(whole.layer(layer));
        }
        const Trace part = recorded(prompt_ids, evaluation, 8, {}, of_part(layers, kv_heads));
        EXPECT_EQ(part.info().layer_numbers, layers);
        EXPECT_EQ(part.info().kv_head_numbers, kv_heads);
        EXPECT_EQ(part.info().shape, (ModelShape{2, 4, 2, 8, 64}));
        EXPECT_EQ(part.info().eval_ids, eval_ids);
        EXPECT_TRUE(part.info().has_losses);
        for (std::int64_t i = 0; i < 2; ++i) {
            const LayerView found = part.layer(i), &from = expected[static_cast<std::size_t>(i)];
            EXPECT_TRUE(at::equal(found.k, rows(from.k, kv_heads)));
            EXPECT_TRUE(at::equal(found.v, rows(from.v, kv_heads)));
            EXPECT_TRUE(at::equal(found.k_eval, rows(from.k_eval, kv_heads)));
            EXPECT_TRUE(at::equal(found.v_eval, rows(from.v_eval, kv_heads)));
            EXPECT_TRUE(at::equal(found.q_window, rows(from.q_window, heads)));
            EXPECT_TRUE(at::equal(found.q_eval, rows(from.q_eval, heads)));
            EXPECT_TRUE(at::equal(found.observed_attention, rows(from.observed_attention, heads)));
            EXPECT_TRUE(at::equal(found.q_pre_rope_cov, rows(from.q_pre_rope_cov, heads)));
            const auto columns = rows(from.w_o.t().contiguous().view({8, 8, 64}), heads).view({32, 64}).t();
            EXPECT_TRUE(at::equal(found.w_o, columns));
            EXPECT_FALSE(found.attn_out.defined()) << "which all heads add to";
        }
    }
}

TEST_F(StoriesRecording, OfSomeLayersKeepsTheirResidualStream)
{
    const LayerView expected = recorded(prompt_ids, {}, 8).layer(3);
    const Trace part = recorded(prompt_ids, {}, 8, {}, of_part({3}, {}));
    EXPECT_EQ(part.info().shape.num_layers, 1);
    EXPECT_TRUE(at::equal(part.layer(0).mlp_out, expected.mlp_out));
    EXPECT_TRUE(verify_layer(part.layer(0)).holds());
}

TEST_F(StoriesRecording, OfAllLayersAndHeadsIsNoPart)
{
    const Trace trace = recorded(prompt_ids, {}, 8, {}, of_part({0, 1, 2, 3, 4}, {0, 1, 2, 3}));
    EXPECT_TRUE(trace.info().layer_numbers.empty());
    EXPECT_TRUE(trace.info().kv_head_numbers.empty());
}

TEST_F(StoriesRecording, RefusesALayerThatTheModelLacks)
{
    EXPECT_THAT(
        [&] {
            recorded(prompt_ids, {}, 8, {}, of_part({1, 5}, {}));
        },
        ThrowsMessage<Error>(HasSubstr("--layers: expected 0 to 4, found 5")));
    EXPECT_THAT([&] { recorded(prompt_ids, {}, 8, {}, of_part({}, {4})); },
        ThrowsMessage<Error>(HasSubstr("--heads: expected 0 to 3, found 4")));
}

/// Keeps the last q of each layer.
struct QueryObserver : Observer
{
    void on(std::string_view name, std::int64_t, const at::Tensor& value) override
    {
        if (name == "q") {
            queries.push_back(value.clone());
        }
    }
    bool wants(std::string_view name) const override { return name == "q"; }
    std::vector<at::Tensor> queries;
};

TEST_F(StoriesRecording, WindowIsTheLastQueriesOfThePrompt)
{
    const Trace trace = recorded(prompt_ids, {}, 8);
    QueryObserver observer;
    KvCache cache;
    decoder_->forward(prompt_ids, cache, &observer, false);
    EXPECT_EQ(trace.info().window, 8);
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        const at::Tensor expected = observer.queries[static_cast<std::size_t>(layer)].narrow(1, 12, 8);
        EXPECT_TRUE(at::equal(trace.layer(layer).q_window, expected)) << layer;
    }
}

/// Keeps the last q_pre_rope and q of each layer.
struct RopeObserver : Observer
{
    void on(std::string_view name, std::int64_t, const at::Tensor& value) override
    {
        if (wants(name)) {
            (name == "q" ? after : before).push_back(value.clone());
        }
    }
    bool wants(std::string_view name) const override { return name == "q" || name == "q_pre_rope"; }
    std::vector<at::Tensor> before, after;
};

TEST_F(StoriesRecording, QueryStatisticsAreThoseOfThePromptFromPositionFourOn)
{
    const Trace trace = recorded(prompt_ids, {}, 8);
    EXPECT_TRUE(trace.info().has_query_statistics);
    RopeObserver observer;
    KvCache cache;
    decoder_->forward(prompt_ids, cache, &observer, false);
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        const at::Tensor q = observer.before[static_cast<std::size_t>(layer)].narrow(1, 4, 16).to(at::kDouble);
        const at::Tensor mean = q.mean(1), centered = q - mean.unsqueeze(1);
        const at::Tensor covariance = at::matmul(centered.transpose(1, 2), centered) / 16;
        const LayerView view = trace.layer(layer);
        EXPECT_TRUE(at::allclose(view.q_pre_rope_mean, mean.to(at::kFloat), 1e-6, 1e-6)) << layer;
        EXPECT_TRUE(at::allclose(view.q_pre_rope_cov, covariance.to(at::kFloat), 1e-6, 1e-6)) << layer;
    }
}

TEST_F(StoriesRecording, OfFourTokensOrFewerHasNoQueryStatistics)
{
    const TraceInfo four = recorded({1, 403, 407, 261}, {}, 4).info();
    EXPECT_FALSE(four.has_query_statistics);
    EXPECT_TRUE(four.has_observed_attention);
}

TEST_F(StoriesRecording, RopeFrequenciesTurnTheQueries)
{
    const Trace trace = recorded(prompt_ids, {}, 8);
    RopeObserver observer;
    KvCache cache;
    decoder_->forward(prompt_ids, cache, &observer, false);
    const auto& frequencies = trace.info().rope_inv_freq;
    const auto pairs = std::ssize(frequencies);
    ASSERT_EQ(pairs, trace.info().shape.head_dim / 2);
    EXPECT_EQ(trace.info().rope_attention_scaling, 1);
    const at::Tensor &q = observer.before[3][5][17], &turned = observer.after[3][5][17]; // [head_dim]
    for (std::int64_t i = 0; i < pairs; ++i) {
        const double angle = 17 * frequencies[static_cast<std::size_t>(i)];
        const auto first = q[i].item<double>(), second = q[i + pairs].item<double>();
        EXPECT_NEAR(turned[i].item<double>(), first * std::cos(angle) - second * std::sin(angle), 1e-5);
        EXPECT_NEAR(turned[i + pairs].item<double>(), second * std::cos(angle) + first * std::sin(angle), 1e-5);
    }
}

TEST_F(StoriesRecording, ColumnSumsCountEveryQueryOnce)
{
    const Trace trace = recorded(prompt_ids, {}, 8);
    const LayerView view = trace.layer(2);
    const at::Tensor totals = view.observed_attention.sum(1);
    EXPECT_TRUE(at::allclose(totals, at::full_like(totals, 20.0), 1e-5, 0));
    EXPECT_TRUE((view.observed_attention_off_diagonal <= view.observed_attention + 1e-6).all().item<bool>());
    // the first query sees itself alone, so its own column's diagonal share is at least that
    const at::Tensor diagonal
        = view.observed_attention.select(1, 0) - view.observed_attention_off_diagonal.select(1, 0);
    EXPECT_TRUE(at::allclose(diagonal, at::ones_like(diagonal), 1e-5, 1e-5));
}

TEST_F(StoriesRecording, ContinuesAsTheGreedyReference)
{
    // llama2.c's own output goes on " outside in the park. One"
    const Trace trace = recorded({1}, {.steps = 19, .reference = {}}, 8);
    EXPECT_EQ(trace.info().eval_ids, Ids(prompt_ids.begin() + 1, prompt_ids.end()));
}

TEST_F(StoriesRecording, SaysWhatThePromptLeadsToWhateverTheSteps)
{
    const std::int64_t next = recorded(prompt_ids, {.steps = 2, .reference = {}}, 8).info().next_id;
    EXPECT_EQ(next, recorded(prompt_ids, {.steps = 2, .reference = {}}, 8).info().eval_ids.front());
    EXPECT_NE(next, 11);
    EXPECT_EQ(recorded(prompt_ids, {.steps = 0, .reference = {11, 12}}, 8).info().next_id, next);
    EXPECT_EQ(recorded(prompt_ids, {.steps = 0, .reference = {}}, 8).info().next_id, next);
    EXPECT_EQ(recorded(prompt_ids, {.steps = 0, .reference = {11}}, 8, {}, of_part({1}, {0})).info().next_id, next);
}

TEST_F(StoriesRecording, ReferenceThatIsTheGreedyContinuationGivesItsLogits)
{
    const Trace first = recorded(prompt_ids, {.steps = 6, .reference = {}}, 8);
    const Ids continuation = first.info().eval_ids;
    const at::Tensor logits = first.logits();
    std::vector<LayerView> greedy;
    for (std::int64_t layer = 0; layer < first.info().shape.num_layers; ++layer) {
        greedy.push_back(first.layer(layer));
    }
    const Trace forced = recorded(prompt_ids, {.steps = 16, .reference = continuation}, 8);
    EXPECT_EQ(forced.info().eval_ids, continuation);
    EXPECT_EQ(forced.info().continuation, "reference");
    EXPECT_TRUE(at::allclose(forced.logits(), logits, 1e-4, 1e-4))
        << (forced.logits() - logits).abs().max().item<float>();
    for (const LayerView& expected : greedy) {
        const LayerView found = forced.layer(expected.layer);
        EXPECT_TRUE(at::allclose(found.q_eval, expected.q_eval, 1e-4, 1e-4));
        EXPECT_TRUE(at::allclose(found.k_eval, expected.k_eval, 1e-4, 1e-4));
        EXPECT_TRUE(at::allclose(found.v_eval, expected.v_eval, 1e-4, 1e-4));
        EXPECT_TRUE(at::allclose(found.mlp_out, expected.mlp_out, 1e-4, 1e-4));
    }
}

TEST_F(StoriesRecording, ResidualStreamAddsUp)
{
    const Trace trace = recorded(prompt_ids, {.steps = 4, .reference = {}}, 8);
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        const LayerView view = trace.layer(layer);
        EXPECT_TRUE(at::allclose(view.resid_pre + view.attn_out, view.resid_mid, 1e-5, 1e-5)) << layer;
        if (layer + 1 < trace.info().shape.num_layers) {
            EXPECT_TRUE(at::allclose(view.resid_mid + view.mlp_out, trace.layer(layer + 1).resid_pre, 1e-5, 1e-5))
                << layer;
        }
    }
}

TEST_F(StoriesRecording, OfAPromptNoLongerThanTheWindowRecordsAllOfIt)
{
    const Trace trace = recorded({1, 403, 407}, {.steps = 2, .reference = {}}, 64);
    EXPECT_EQ(trace.info().window, 3);
    EXPECT_EQ(trace.layer(0).q_window.size(1), 3);
}

/// Bytes of a file.
std::string bytes_of(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_F(StoriesRecording, InChunksIsTheSameWithinRounding)
{
    const Trace whole = recorded(prompt_ids, {.steps = 3, .reference = {}}, 8);
    std::vector<LayerView> expected;
    for (std::int64_t layer = 0; layer < whole.info().shape.num_layers; ++layer) {
        expected.push_back(whole.layer(layer));
    }
    for (const std::int64_t chunk : {1, 7, 19}) {
        const Trace pieces = recorded(
            prompt_ids, {.steps = 3, .reference = {}}, 8, {}, {.window = 8, .chunk = chunk, .repeat = std::nullopt});
        EXPECT_EQ(pieces.info().eval_ids, whole.info().eval_ids);
        for (const LayerView& layer : expected) {
            const LayerView found = pieces.layer(layer.layer);
            for (const LayerDataset& dataset : layer_datasets()) {
                const at::Tensor &a = found.*dataset.tensor, &b = layer.*dataset.tensor;
                ASSERT_EQ(a.defined(), b.defined()) << dataset.name;
                if (a.defined()) {
                    EXPECT_TRUE(at::allclose(a, b, 1e-4, 1e-4)) << dataset.name << " in chunks of " << chunk;
                }
            }
        }
    }
}

TEST_F(StoriesRecording, ThatWasInterruptedGoesOnToTheSameBytes)
{
    const std::filesystem::path folder = file_.string() + ".resume";
    std::filesystem::remove_all(folder);
    for (const Ids& reference : {Ids{}, Ids{5, 6, 7}}) {
        const Evaluation evaluation{.steps = 3, .reference = reference};
        const RecordOptions options{.window = 8,
            .chunk = 9,
            .repeat = RepeatTexts{.prefix_length = 2, .ask_first = {3}, .ask_next = {4}, .suffix = {5, 6}}};
        recorded(prompt_ids, evaluation, 8, {}, options);
        const std::string expected = bytes_of(file_);
        std::filesystem::remove(file_);
        StoreOptions store;
        store.resume = true;
        for (const int crash_after : {1, 3}) { // the later ones go on from the earlier
            int done = 0;
            EXPECT_THROW(recorded(prompt_ids, evaluation, 8, store, options,
                             [&] { // the layer before this one has been saved for sure
                                 if (++done == crash_after + 1) {
                                     throw std::runtime_error("crash");
                                 }
                             }),
                std::runtime_error);
            EXPECT_TRUE(std::filesystem::exists(folder)) << crash_after;
            EXPECT_FALSE(std::filesystem::exists(file_));
        }
        recorded(prompt_ids, evaluation, 8, store, options);
        EXPECT_TRUE(bytes_of(file_) == expected) << reference.size();
        EXPECT_FALSE(std::filesystem::exists(folder));
    }
}

TEST_F(StoriesRecording, DoesNotShareItsFinishedLayersWithAnotherProcess)
{
    const std::filesystem::path folder = file_.string() + ".resume";
    std::filesystem::remove_all(folder);
    StoreOptions store;
    store.resume = true;
    int steps = 0;
    recorded(prompt_ids, {}, 8, store, {}, [&] {
        if (++steps == 2) {
            std::ofstream(folder / "mine.txt") << "stays";
            EXPECT_THAT([&] { recorded(prompt_ids, {}, 8, store); },
                ThrowsMessage<Error>(HasSubstr(".resume: another lava-capture is making the same trace there")));
        }
    });
    EXPECT_TRUE(std::filesystem::remove(folder / "mine.txt"));
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    std::filesystem::remove_all(folder);
}

TEST_F(StoriesRecording, NeverGoesOnFromAnotherCapture)
{
    const std::filesystem::path folder = file_.string() + ".resume";
    std::filesystem::remove_all(folder);
    StoreOptions store;
    store.resume = true;
    EXPECT_THROW(recorded(prompt_ids, {}, 8, store, {}, [] { throw std::runtime_error("crash"); }), std::runtime_error);
    EXPECT_THAT([&] { recorded(prompt_ids, {}, 9, store); },
        ThrowsMessage<Error>(HasSubstr(".resume: is of a capture of another prompt, model or option")));
    EXPECT_FALSE(std::filesystem::exists(file_));
    std::filesystem::remove_all(folder);
}

TEST_F(StoriesRecording, CompressesWhereAsked)
{
    const Ids monotony(400, 5);
    recorded(monotony, {}, 8);
    const std::size_t plain = bytes_of(file_).size();
    StoreOptions store;
    store.deflate = 9;
    const Trace trace = recorded(monotony, {}, 8, store);
    EXPECT_LT(bytes_of(file_).size(), plain);
    EXPECT_TRUE(trace.info().has_losses);
}

TEST_F(StoriesRecording, WithoutEvaluationStepsHasNoLossPart)
{
    const Trace trace = recorded(prompt_ids, {.steps = 0, .reference = {}}, 8);
    EXPECT_EQ(trace.info().eval_len, 0);
    EXPECT_FALSE(trace.info().has_losses);
    EXPECT_TRUE(trace.layer(0).q_window.defined());
}

TEST_F(StoriesRecording, StoresCoarserWhenAsked)
{
    KvCache cache;
    decoder_->forward(prompt_ids, cache, nullptr, false);
    const at::Tensor exact = cache.k[1];
    const Trace trace
        = recorded(prompt_ids, {}, 8, {.trace = {}, .weights = {}, .store = StoreType::bf16, .deflate = 0});
    EXPECT_EQ(trace.info().store_type, StoreType::bf16);
    EXPECT_TRUE(at::equal(trace.layer(1).k, exact.to(at::kBFloat16).to(at::kFloat)));
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        EXPECT_TRUE(verify_layer(trace.layer(layer)).holds()) << layer;
    }
}

TEST_F(StoriesRecording, RefusesWhatTheModelCannotTake)
{
    const ModelConfig& config = checkpoint_->config();
    const auto check = [&](Ids ids, Evaluation evaluation) {
        return [&config, ids, evaluation] {
            check_prompt(config, {.ids = ids, .texts = {}, .spans = {}, .tokenization = {}}, evaluation, {});
        };
    };
    EXPECT_NO_THROW(check(Ids(496, 5), {})());
    EXPECT_THAT(check(Ids(497, 5), {}),
        ThrowsMessage<Error>("the prompt's 497 tokens and 16 evaluation steps exceed the model's context of 512"));
    EXPECT_THAT(check(Ids(510, 5), {.steps = 16, .reference = Ids(3, 5)}),
        ThrowsMessage<Error>(HasSubstr("3 evaluation steps")));
    EXPECT_THAT(check({1, 512}, {}), ThrowsMessage<Error>(HasSubstr("prompt: token 1: expected an id below 512")));
    EXPECT_THAT(check({1}, {.steps = 16, .reference = {-1}}), ThrowsMessage<Error>(HasSubstr("found -1")));
    EXPECT_THAT(check({}, {}), ThrowsMessage<Error>("the prompt is empty"));
}

} // namespace
} // namespace lava
