// Recording models whose queries see only the last positions before them.

#include "base/error.h"
#include "capture/recorder.h"
#include "tests/temporary_folder.h"
#include "tests/windowed_story_model.h"
#include "traces/trace.h"
#include "traces/verify.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Ids = std::vector<std::int64_t>;

constexpr std::int64_t prompt_length = 60, window = 20; // in layers 0, 2 and 4

class WindowedRecording : public ::testing::Test
{
protected:
    WindowedRecording()
    {
        testing::make_windowed_story_model(folder_ / "model", window);
        decoder_ = std::make_unique<Decoder>(Checkpoint(folder_ / "model"), DecoderOptions{});
        for (std::int64_t i = 0; i < prompt_length; ++i)
            prompt_.push_back(3 + i * i % 500);
    }

    Trace recorded(const Evaluation& evaluation, const RecordOptions& options)
    {
        TraceInfo info;
        info.run_dtype = "float32";
        info.prompt_ids = prompt_;
        info = complete_info(info, decoder_->config(), evaluation, options);
        record_trace(
            *decoder_, info, evaluation, options, {.trace = folder_ / "trace.h5", .weights = {}}, nullptr, [] {});
        return Trace(folder_ / "trace.h5");
    }

    const TemporaryFolder folder_;
    std::unique_ptr<Decoder> decoder_;
    Ids prompt_;
};

TEST_F(WindowedRecording, OfAPromptBeyondTheWindowIsWhatTheDecoderSays)
{
    for (const auto& evaluation :
        {Evaluation{.steps = 5, .reference = {}}, Evaluation{.steps = 0, .reference = {9, 8}}}) {
        RecordOptions options;
        options.window = 8;
        options.chunk = 17;
        const Trace trace = recorded(evaluation, options);
        EXPECT_EQ(trace.info().layer_windows, (Ids{window, 0, window, 0, window}));
        auto all = prompt_;
        all.insert(all.end(), trace.info().eval_ids.begin(), trace.info().eval_ids.end());
        KvCache cache;
        decoder_->forward(all, cache, nullptr, false);
        for (std::int64_t layer = 0; layer < 5; ++layer) {
            const LayerView view = trace.layer(layer);
            const auto& k = cache.k[static_cast<std::size_t>(layer)];
            EXPECT_TRUE(at::allclose(view.k, k.narrow(1, 0, prompt_length), 1e-4, 1e-5)) << layer;
            EXPECT_TRUE(at::allclose(view.k_eval, k.narrow(1, prompt_length, view.eval_len), 1e-4, 1e-5)) << layer;
            EXPECT_TRUE(verify_layer(view).holds()) << layer;
        }
    }
}

TEST_F(WindowedRecording, ColumnSumsCountWhatTheQueriesSee)
{
    RecordOptions options;
    options.window = prompt_length; // all queries
    for (const std::int64_t chunk : {13, 100}) {
        options.chunk = chunk;
        const LayerView view = recorded({}, options).layer(2);
        const auto k = view.k.repeat_interleave(view.shape.group_size(), 0);
        auto logits = at::bmm(view.q_window, k.transpose(1, 2)) / std::sqrt(static_cast<double>(view.shape.head_dim));
        for (std::int64_t query = 0; query < prompt_length; ++query)
            for (std::int64_t key = 0; key < prompt_length; ++key)
                if (key > query || key <= query - window)
                    logits.select(1, query).select(1, key).fill_(-INFINITY);
        EXPECT_TRUE(at::allclose(view.observed_attention, at::softmax(logits, -1).sum(1), 1e-4, 1e-6)) << chunk;
    }
}

TEST_F(WindowedRecording, OfAPartHasTheWindowsOfItsLayers)
{
    RecordOptions options;
    options.window = 8;
    options.part = {{1, 4}, {}};
    const Trace trace = recorded({}, options);
    EXPECT_EQ(trace.info().layer_windows, (Ids{0, window}));
    EXPECT_TRUE(verify_layer(trace.layer(0)).holds());
    EXPECT_TRUE(verify_layer(trace.layer(1)).holds());
}

TEST_F(WindowedRecording, WithARepeatPassNeedsAWindowThatHoldsIt)
{
    const RepeatTexts repeat{.prefix_length = 0, .ask_first = {3}, .ask_next = {4}, .suffix = {5}};
    EXPECT_THAT(
        [&] {
            check_prompt(
                decoder_->config(), {.ids = prompt_, .texts = {}, .spans = {}, .tokenization = {}}, {}, repeat);
        },
        ThrowsMessage<Error>(HasSubstr("60 tokens and 62 of a repetition exceed the model's sliding window of 20")));
}

} // namespace
} // namespace lava
