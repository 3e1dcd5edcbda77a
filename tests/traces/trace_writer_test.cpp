// The writer, checked by plain HDF5 calls.

#include "traces/trace_writer.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/synthesize.h"
#include "traces/trace.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lava::test {

namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;

SynthesisOptions small()
{
    SynthesisOptions options;
    options.shape = {.num_layers = 2, .num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .hidden_size = 12};
    options.seq_len = 20;
    options.eval_len = 3;
    options.window = 5;
    return options;
}

TraceInfo small_info()
{
    auto info = synthesize_info(small());
    info.model_name = "a model";
    info.weights_sha256 = "abc";
    info.vocab_size = 9;
    info.prompt_ids.assign(20, 3);
    info.prompt_texts.assign(20, "\xff");
    info.eval_ids = {1, 2, 3};
    info.eval_texts = {"x", "", "yz"};
    info.next_id = 8;
    info.rope_attention_scaling = 1.25;
    info.layer_numbers = {4, 9};
    info.kv_head_numbers = {0, 5};
    info.layer_windows = {0, 16};
    return info;
}

void write(const fs::path& file, const TraceInfo& info, TraceWriter::Options options)
{
    TraceWriter writer(file, info, std::move(options));
    for (const std::int64_t layer : {1, 0}) // any order
        writer.write_layer(synthesize_layer(small(), layer));
    writer.write_logits(at::ones({3, 9}));
    writer.finish();
}

TEST(TraceWriter, WritesWhatPlainHdf5CallsRead)
{
    const TemporaryFolder folder;
    write(folder / "x.h5", small_info(), {});
    const hid_t id = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    EXPECT_EQ(raw_read_string(id, "/", "format"), "lava-trace");
    EXPECT_EQ(raw_read_int(id, "/", "format_major"), 1);
    EXPECT_EQ(raw_read_int(id, "/model", "num_kv_heads"), 2);
    EXPECT_EQ(raw_read_string(id, "/model", "name"), "a model");
    EXPECT_EQ(raw_read_int(id, "/run", "window"), 5);
    EXPECT_EQ(raw_read_string(id, "/spans", "names"), R"(["middle"])");
    EXPECT_EQ(raw_shape(id, "/tokens/text_offsets"), (std::vector<hsize_t>{24}));
    EXPECT_EQ(raw_shape(id, "/layers/01/w_o"), (std::vector<hsize_t>{12, 32}));
    const auto k = synthesize_layer(small(), 1).k.contiguous();
    const auto* values = k.const_data_ptr<float>();
    EXPECT_EQ(raw_read_floats(id, "/layers/01/k"), std::vector<float>(values, values + k.numel()));
    H5Fclose(id);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(TraceWriter, IsReadBackAsItWas)
{
    const TemporaryFolder folder;
    const auto info = small_info();
    write(folder / "x.h5", info, {.store = StoreType::f32, .weights_file = {}, .deflate = 3});
    const Trace trace(folder / "x.h5");
    EXPECT_EQ(trace.info().prompt_texts, info.prompt_texts);
    EXPECT_EQ(trace.info().eval_texts, info.eval_texts);
    EXPECT_EQ(trace.info().eval_ids, info.eval_ids);
    EXPECT_EQ(trace.info().next_id, 8);
    EXPECT_EQ(trace.info().spans, info.spans);
    EXPECT_EQ(trace.info().weights_sha256, "abc");
    EXPECT_EQ(trace.info().rope_inv_freq, info.rope_inv_freq);
    EXPECT_EQ(trace.info().rope_attention_scaling, 1.25);
    EXPECT_EQ(trace.info().layer_numbers, info.layer_numbers);
    EXPECT_EQ(trace.info().kv_head_numbers, info.kv_head_numbers);
    EXPECT_EQ(trace.info().layer_windows, info.layer_windows);
    const auto expected = synthesize_layer(small(), 1);
    const auto found = trace.layer(1);
    EXPECT_TRUE(found.k.equal(expected.k) && found.attn_out.equal(expected.attn_out) && found.w_o.equal(expected.w_o));
    EXPECT_FALSE(found.b_o.defined());
}

TEST(TraceWriter, RoundsToTheStoredTypeAndNoFurther)
{
    for (const auto& [store, scalar] : {std::pair{StoreType::f16, at::kHalf}, {StoreType::bf16, at::kBFloat16}}) {
        const TemporaryFolder folder;
        write(folder / "x.h5", small_info(), {.store = store, .weights_file = {}});
        const Trace trace(folder / "x.h5");
        EXPECT_EQ(trace.info().store_type, store);
        const auto written = synthesize_layer(small(), 0);
        EXPECT_TRUE(trace.layer(0).v.equal(written.v.to(scalar).to(at::kFloat)));
        EXPECT_TRUE(trace.layer(0).observed_attention.equal(written.observed_attention)) << "column sums stay float32";
        EXPECT_TRUE(trace.layer(0).q_pre_rope_cov.equal(written.q_pre_rope_cov)) << "statistics stay float32";
    }
}

TEST(TraceWriter, SharesTheWeightsOfAModel)
{
    const TemporaryFolder folder;
    fs::create_directory(folder / "traces");
    const auto weights = folder / "model.weights.h5";
    write(folder / "traces/a.h5", small_info(), {.store = StoreType::f32, .weights_file = weights});
    const auto first = file_bytes(weights);
    write(folder / "traces/b.h5", small_info(), {.store = StoreType::f32, .weights_file = weights});
    EXPECT_EQ(file_bytes(weights), first);
    fs::rename(folder.path(), folder.path().string() + "-moved"); // links are relative
    const auto moved = fs::path(folder.path().string() + "-moved");
    const Trace trace(moved / "traces/b.h5");
    EXPECT_TRUE(trace.info().has_losses);
    EXPECT_TRUE(trace.layer(1).w_o.equal(synthesize_layer(small(), 1).w_o));
    fs::remove_all(moved);
}

TEST(TraceWriter, NeverOverwritesOrLinksAnotherModelsWeights)
{
    const TemporaryFolder folder;
    const auto weights = folder / "w.h5";
    write(folder / "a.h5", small_info(), {.store = StoreType::f32, .weights_file = weights});
    auto other = small_info();
    other.weights_sha256 = "def";
    EXPECT_EQ(error_of([&] { write(folder / "b.h5", other, {.store = StoreType::f32, .weights_file = weights}); }),
        weights.string() + ": weights of another model: attribute weights_sha256: expected def, found abc");
    EXPECT_FALSE(fs::exists(folder / "b.h5"));
    const hid_t id = H5Fopen(weights.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    raw_attribute(id, "/", "weights_sha256", "def");
    raw_delete_attribute(id, "/", "digests");
    H5Fclose(id);
    EXPECT_THAT(error_of([&] { Trace trace(folder / "a.h5"); }), HasSubstr("weights_sha256: expected abc, found def"));
    other.weights_sha256.clear();
    EXPECT_THAT(error_of([&] { write(folder / "b.h5", other, {.store = StoreType::f32, .weights_file = weights}); }),
        EndsWith("a weights file needs the checkpoint's weights_sha256, found none"));
}

TEST(TraceWriter, DoesNotLinkWeightsThatAreCoarserThanTheTrace)
{
    const TemporaryFolder folder;
    const auto weights = folder / "w.h5";
    write(folder / "a.h5", small_info(), {.store = StoreType::bf16, .weights_file = weights});
    EXPECT_EQ(
        error_of([&] { write(folder / "b.h5", small_info(), {.store = StoreType::f32, .weights_file = weights}); }),
        weights.string()
            + ": /layers/00/w_o: expected float32, as the trace is to be stored, or finer, found bfloat16: store the "
              "trace as that, or name or make another weights file");
    EXPECT_FALSE(fs::exists(folder / "b.h5"));
    write(folder / "c.h5", small_info(), {.store = StoreType::bf16, .weights_file = weights});
}

TEST(TraceWriter, RefusesTensorsThatDoNotFit)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    const auto layer = synthesize_layer(small(), 0);
    const auto refusal = [&](const std::function<void(LayerView&)>& edit) {
        TraceWriter writer(file, small_info(), {.store = StoreType::f16, .weights_file = {}});
        auto view = layer;
        edit(view);
        return error_of([&] { writer.write_layer(view); });
    };
    EXPECT_EQ(refusal([](LayerView& view) { view.k = view.k.narrow(1, 0, 19); }),
        file.string() + ": /layers/00/k: expected [2, 20, 8], found [2, 19, 8]");
    EXPECT_EQ(refusal([](LayerView& view) { view.v = at::Tensor(); }),
        file.string() + ": /layers/00/v: missing, expected a tensor");
    EXPECT_EQ(refusal([](LayerView& view) { view.layer = 2; }), file.string() + ": /layers/02: expected layers 0 to 1");
    EXPECT_THAT(refusal([](LayerView& view) { view.q_eval = view.q_eval.clone().fill_(1e6); }),
        EndsWith("/layers/00/q_eval: expected finite numbers that fit float16, found 1000000.000000 at [0, 0, 0]"));
    EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TraceWriter, WantsEveryLayerOnceAndAlike)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    TraceWriter writer(file, small_info(), {});
    writer.write_layer(synthesize_layer(small(), 0));
    EXPECT_EQ(error_of([&] { writer.finish(); }), file.string() + ": /layers: expected 2 layers, found 1");
    EXPECT_EQ(error_of([&] { writer.write_layer(synthesize_layer(small(), 0)); }),
        file.string() + ": /layers/00: expected each layer once, found it twice");
    auto view = synthesize_layer(small(), 1);
    view.observed_attention = at::Tensor();
    EXPECT_THAT(error_of([&] { writer.write_layer(view); }), HasSubstr("/layers/01: expected all layers alike, "));
    EXPECT_FALSE(fs::exists(file));
}

TEST(TraceWriter, NeedsOnlyKeysValuesAndWindowQueries)
{
    const TemporaryFolder folder;
    auto options = small();
    options.shape.hidden_size = 0;
    options.eval_len = 0;
    TraceWriter writer(folder / "x.h5", synthesize_info(options), {});
    for (const std::int64_t layer : {0, 1}) {
        auto view = synthesize_layer(options, layer);
        view.observed_attention = view.observed_attention_off_diagonal = at::Tensor();
        writer.write_layer(view);
    }
    writer.finish();
    EXPECT_FALSE(Trace(folder / "x.h5").info().has_losses);
}

TEST(TraceWriter, TheSameInputGivesTheSameBytes)
{
    const TemporaryFolder folder;
    for (const auto* name : {"a.h5", "b.h5"})
        write(folder / name, small_info(), {.store = StoreType::bf16, .weights_file = {}, .deflate = 5});
    EXPECT_EQ(file_bytes(folder / "a.h5"), file_bytes(folder / "b.h5"));
}

/// Writes a trace under a limit on file sizes, as on a full disk; returns 0 where it failed with our sentence.
int write_with_limit(const fs::path& file, rlim_t limit)
{
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit bound = {limit, limit};
    ::setrlimit(RLIMIT_FSIZE, &bound);
    try {
        write(file, small_info(), {});
    } catch (const Error& error) {
        const std::string message = error.what();
        return message.find("x.h5") != std::string::npos && message.find("File too large") != std::string::npos ? 0 : 1;
    }
    return 2;
}

TEST(TraceWriter, OfTwoThatWriteTheSameWeightsTheFirstOnesStay)
{
    const TemporaryFolder folder;
    const auto weights = folder / "w.h5";
    const TraceWriter::Options options{.store = StoreType::f32, .weights_file = weights};
    TraceWriter first(folder / "a.h5", small_info(), options), second(folder / "b.h5", small_info(), options);
    for (const std::int64_t layer : {0, 1}) {
        first.write_layer(synthesize_layer(small(), layer));
        second.write_layer(synthesize_layer(small(), layer));
    }
    first.finish();
    const auto bytes = file_bytes(weights);
    second.finish();
    EXPECT_EQ(file_bytes(weights), bytes);
    for (const char* name : {"a.h5", "b.h5"})
        EXPECT_TRUE(at::equal(Trace(folder / name).layer(1).w_o, synthesize_layer(small(), 1).w_o)) << name;
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 3);
}

TEST(TraceWriter, RefusesAnothersWeightsThatCameFirst)
{
    const TemporaryFolder folder;
    const TraceWriter::Options options{.store = StoreType::f32, .weights_file = folder / "w.h5"};
    TraceWriter writer(folder / "a.h5", small_info(), options);
    for (const std::int64_t layer : {0, 1})
        writer.write_layer(synthesize_layer(small(), layer));
    auto other = small_info();
    other.weights_sha256 = "another";
    write(folder / "b.h5", other, options);
    EXPECT_THAT(error_of([&] { writer.finish(); }), ::testing::HasSubstr("weights of another model"));
    EXPECT_FALSE(fs::exists(folder / "a.h5"));
}

TEST(TraceWriter, AFullDiskIsAnErrorAndLeavesNothing)
{
    const TemporaryFolder folder;
    write(folder / "whole.h5", small_info(), {});
    const auto size = fs::file_size(folder / "whole.h5");
    for (const auto limit : {std::uintmax_t(100), size / 4, size / 2, size - 1}) {
        const auto child = ::fork();
        if (child == 0)
            ::_exit(write_with_limit(folder / "x.h5", limit));
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "limit " << limit << ", status " << status;
        EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << limit; // whole.h5
    }
}

} // namespace

} // namespace lava::test
