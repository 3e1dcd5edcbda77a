#include "capture/recorder.h"

#include "traces/error.h"
#include "traces/trace.h"
#include "traces/verify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

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

    Trace written(const Recording& recording, StoreType store = StoreType::f32, const Ids& ids = prompt_ids) const
    {
        TraceInfo info;
        info.generator = "test";
        info.model_name = "stories260K";
        info.run_dtype = "float32";
        info.device = "cpu";
        info.continuation = recording.eval_ids.empty() ? "" : "greedy";
        info.prompt_ids = ids;
        write_recording(*decoder_, recording, info, {file_, {}, store}, [] {});
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
    const Trace trace = written(record(*decoder_, prompt_ids, {}, 8));
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        EXPECT_LE(verify_layer(trace.layer(layer)).worst_step, verify_tolerance(StoreType::f32)) << layer;
    }
}

TEST_F(StoriesRecording, HoldsTheDecodersCache)
{
    const Recording recording = record(*decoder_, prompt_ids, {.steps = 5, .reference = {}}, 8);
    Ids all = prompt_ids;
    all.insert(all.end(), recording.eval_ids.begin(), recording.eval_ids.end());
    KvCache cache;
    decoder_->forward(all, cache, nullptr, false);
    const Trace trace = written(recording);
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
    const Trace trace = written(record(*decoder_, prompt_ids, {}, 8));
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
    const Trace trace = written(record(*decoder_, prompt_ids, {}, 8));
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
    const TraceInfo four
        = written(record(*decoder_, {1, 403, 407, 261}, {}, 4), StoreType::f32, {1, 403, 407, 261}).info();
    EXPECT_FALSE(four.has_query_statistics);
    EXPECT_TRUE(four.has_observed_attention);
}

TEST_F(StoriesRecording, RopeFrequenciesTurnTheQueries)
{
    const Trace trace = written(record(*decoder_, prompt_ids, {}, 8));
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
    const Trace trace = written(record(*decoder_, prompt_ids, {}, 8));
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
    const Recording recording = record(*decoder_, {1}, {.steps = 19, .reference = {}}, 8);
    EXPECT_EQ(recording.eval_ids, Ids(prompt_ids.begin() + 1, prompt_ids.end()));
}

TEST_F(StoriesRecording, ReferenceThatIsTheGreedyContinuationGivesItsLogits)
{
    const Recording greedy = record(*decoder_, prompt_ids, {.steps = 6, .reference = {}}, 8);
    const Recording forced = record(*decoder_, prompt_ids, {.steps = 16, .reference = greedy.eval_ids}, 8);
    EXPECT_EQ(forced.eval_ids, greedy.eval_ids);
    EXPECT_TRUE(at::allclose(forced.logits, greedy.logits, 1e-4, 1e-4))
        << (forced.logits - greedy.logits).abs().max().item<float>();
    for (std::size_t layer = 0; layer < greedy.layers.size(); ++layer) {
        EXPECT_TRUE(at::allclose(forced.layers[layer].q_eval, greedy.layers[layer].q_eval, 1e-4, 1e-4));
        EXPECT_TRUE(at::allclose(forced.layers[layer].mlp_out, greedy.layers[layer].mlp_out, 1e-4, 1e-4));
    }
}

TEST_F(StoriesRecording, ResidualStreamAddsUp)
{
    const Trace trace = written(record(*decoder_, prompt_ids, {.steps = 4, .reference = {}}, 8));
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
    const Recording recording = record(*decoder_, {1, 403, 407}, {.steps = 2, .reference = {}}, 64);
    EXPECT_EQ(recording.window, 3);
    EXPECT_EQ(recording.layers[0].q_window.size(1), 3);
}

TEST_F(StoriesRecording, WithoutEvaluationStepsHasNoLossPart)
{
    const Trace trace = written(record(*decoder_, prompt_ids, {.steps = 0, .reference = {}}, 8));
    EXPECT_EQ(trace.info().eval_len, 0);
    EXPECT_FALSE(trace.info().has_losses);
    EXPECT_TRUE(trace.layer(0).q_window.defined());
}

TEST_F(StoriesRecording, StoresCoarserWhenAsked)
{
    const Recording recording = record(*decoder_, prompt_ids, {}, 8);
    const at::Tensor exact = recording.cache.k[1].narrow(1, 0, std::ssize(prompt_ids));
    const Trace trace = written(recording, StoreType::bf16);
    EXPECT_EQ(trace.info().store_type, StoreType::bf16);
    EXPECT_TRUE(at::equal(trace.layer(1).k, exact.to(at::kBFloat16).to(at::kFloat)));
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
        EXPECT_LE(verify_layer(trace.layer(layer)).worst_step, verify_tolerance(StoreType::bf16)) << layer;
    }
}

TEST_F(StoriesRecording, RefusesWhatTheModelCannotTake)
{
    const ModelConfig& config = checkpoint_->config();
    const auto check = [&](Ids ids, Evaluation evaluation) {
        return [&config, ids, evaluation] {
            check_prompt(config, {.ids = ids, .texts = {}, .spans = {}, .tokenization = {}}, evaluation);
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
