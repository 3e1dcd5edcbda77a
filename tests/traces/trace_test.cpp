// The reader against files made by plain HDF5 calls: what it reads, and the sentence for all that it refuses.

#include "traces/trace.h"

#include "base/error.h"
#include "tests/base/raw_h5.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <thread>

namespace lava::test {

namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string refusal(const std::function<void(hid_t)>& edit)
{
    const TemporaryFolder folder;
    const auto file = raw_trace(folder / "x.h5", edit);
    const auto message = error_of([&] { Trace trace(file); });
    const auto prefix = file.string() + ": ";
    EXPECT_THAT(message, StartsWith(prefix));
    return message.substr(std::min(prefix.size(), message.size()));
}

void set_size(hid_t file, const char* group, const char* name, std::int64_t value)
{
    raw_attribute(file, group, name, value);
}

TEST(TraceReader, ReadsWhatPlainHdf5CallsWrote)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5"));
    const auto& info = trace.info();
    EXPECT_EQ(info.shape, (ModelShape{2, 4, 2, 3, 5}));
    EXPECT_EQ(info.seq_len, 6);
    EXPECT_EQ(info.model_name, "by hand");
    EXPECT_THAT(info.prompt_texts, ElementsAre("a", "b", "\xc3\xa9", "", "d", "e"));
    EXPECT_THAT(info.eval_texts, ElementsAre("f", "g"));
    EXPECT_EQ(info.spans, (std::vector<Span>{{"needle", 1, 3}}));
    EXPECT_TRUE(info.has_losses && info.has_outputs && info.has_observed_attention && info.has_logits);
    EXPECT_EQ(info.store_type, StoreType::f32);
    const auto layer = trace.layer(1);
    EXPECT_EQ(layer.layer, 1);
    EXPECT_FLOAT_EQ(layer.k[1][5][2].item<float>(), 0.25F * 36);
    EXPECT_FLOAT_EQ(layer.w_o[4][11].item<float>(), 0.25F * 60);
    EXPECT_FLOAT_EQ(layer.mlp_out[1][4].item<float>(), 0.25F * 10);
    EXPECT_TRUE(layer.has_losses());
    EXPECT_FLOAT_EQ(trace.logits()[1][6].item<float>(), 0.25F * 14);
}

TEST(TraceReader, OpensKeysValuesAndWindowQueriesAlone)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t file) {
        for (const auto* name : {"tokens", "spans", "logits"})
            raw_delete(file, name);
        for (const std::string layer : {"/layers/00/", "/layers/01/"})
            for (const auto* name : {"observed_attention", "observed_attention_off_diagonal", "w_o", "b_o", "q_eval",
                     "k_eval", "v_eval", "resid_pre", "attn_out", "resid_mid", "mlp_out"})
                raw_delete(file, (layer + name).c_str());
        for (const auto* name : {"hidden_size", "vocab_size", "name"})
            raw_delete_attribute(file, "/model", name);
        set_size(file, "/run", "eval_len", 0);
    }));
    EXPECT_FALSE(trace.info().has_losses || trace.info().has_observed_attention || trace.info().has_logits);
    const auto layer = trace.layer(0);
    EXPECT_TRUE(layer.k.defined() && layer.v.defined() && layer.q_window.defined());
    EXPECT_FALSE(layer.has_losses() || layer.w_o.defined() || layer.attn_out.defined());
    EXPECT_THAT(error_of([&] { (void)trace.logits(); }), EndsWith("/logits: missing, expected a dataset"));
}

TEST(TraceReader, MayBeUsedByManyThreads)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5"));
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&, thread] {
            for (int i = 0; i < 50; ++i)
                right += trace.layer((thread + i) % 2).k[1][5][2].item<float>() == 9.0F;
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(right, 200);
}

TEST(TraceReader, ReadsHalfPrecisionAndNamesTheCoarsest)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t file) {
        const std::vector<std::uint16_t> bits(36, 0xbfc0); // -1.5
        raw_dataset(file, "/layers/01/v", H5T_STD_U16LE, {2, 6, 3}, bits.data());
        raw_attribute(file, "/layers/01/v", "dtype", "bfloat16");
        const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(half, 15, 10, 5, 0, 10);
        H5Tset_size(half, 2);
        H5Tset_ebias(half, 15);
        const std::vector<std::uint16_t> halves(24, 0x3e00); // 1.5
        raw_dataset(file, "/layers/00/q_window", half, {4, 2, 3}, halves.data());
        H5Tclose(half);
    }));
    EXPECT_EQ(trace.info().store_type, StoreType::bf16);
    EXPECT_TRUE(trace.layer(1).v.eq(-1.5).all().item<bool>());
    EXPECT_TRUE(trace.layer(0).q_window.eq(1.5).all().item<bool>());
}

TEST(TraceReader, RefusesWhatIsNoTrace)
{
    const TemporaryFolder folder;
    const auto file = folder / "x.h5";
    EXPECT_EQ(error_of([&] { Trace trace(file); }), file.string() + ": no such file");
    std::ofstream(file) << "once upon a time\n";
    EXPECT_EQ(error_of([&] { Trace trace(file); }), file.string() + ": not an HDF5 file");
    EXPECT_EQ(error_of([&] { Trace trace(folder.path()); }),
        folder.path().string() + ": expected an HDF5 file, found a folder");
    EXPECT_EQ(refusal([](hid_t id) { raw_attribute(id, "/", "format", "lava-report"); }),
        "attribute format: expected lava-trace, found lava-report");
    EXPECT_EQ(refusal([](hid_t id) { raw_delete_attribute(id, "/", "format"); }),
        "attribute format: expected lava-trace, found none");
}

TEST(TraceReader, RefusesTruncatedFilesAtAnyLength)
{
    const TemporaryFolder folder;
    const auto whole = file_bytes(raw_trace(folder / "whole.h5"));
    for (std::size_t size = 0; size < whole.size(); size += whole.size() / 23) {
        const auto file = folder / ("cut" + std::to_string(size));
        std::ofstream(file, std::ios::binary) << whole.substr(0, size);
        EXPECT_THAT(error_of([&] { Trace trace(file); }), StartsWith(file.string() + ": ")) << size;
    }
    const auto file = folder / "cut";
    std::ofstream(file, std::ios::binary) << whole.substr(0, 5000);
    EXPECT_THAT(error_of([&] { Trace trace(file); }),
        EndsWith("a truncated HDF5 file: expected " + std::to_string(whole.size()) + " bytes, found 5000"));
}

TEST(TraceReader, RefusesANewerMajorVersionAndNamesBoth)
{
    EXPECT_EQ(refusal([](hid_t file) {
        raw_attribute(file, "/", "format_major", std::int64_t(2));
        raw_attribute(file, "/", "format_minor", std::int64_t(3));
    }),
        "format version 2.3 is newer than 1.3, the newest that this program reads");
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t file) {
        raw_attribute(file, "/", "format_minor", std::int64_t(7));
        raw_floats(file, "/layers/00/something_new", {3});
    }));
    EXPECT_EQ(trace.info().format_minor, 7);
}

TEST(TraceReader, ReadsWhatVersionOnePointOneAdded)
{
    const TemporaryFolder folder;
    const auto old = raw_trace(folder / "old.h5");
    const Trace before(old);
    EXPECT_FALSE(before.info().has_query_statistics || before.info().has_repeat_maxima);
    EXPECT_TRUE(before.info().rope_inv_freq.empty());
    EXPECT_EQ(before.info().rope_attention_scaling, 1);
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t file) {
        for (const std::string layer : {"/layers/00/", "/layers/01/"}) {
            raw_floats(file, (layer + "q_pre_rope_mean").c_str(), {4, 3});
            raw_floats(file, (layer + "q_pre_rope_cov").c_str(), {4, 3, 3});
            raw_floats(file, (layer + "repeat_maxima").c_str(), {2, 6});
        }
        const double frequency = 0.1; // not a float32
        raw_dataset(file, "/model/rope_inv_freq", H5T_IEEE_F64LE, {1}, &frequency);
    }));
    EXPECT_TRUE(trace.info().has_query_statistics && trace.info().has_repeat_maxima);
    EXPECT_FALSE(trace.info().has_repeat_maxima_plus);
    EXPECT_THAT(trace.info().rope_inv_freq, ElementsAre(0.1));
    const auto layer = trace.layer(1);
    EXPECT_FLOAT_EQ(layer.q_pre_rope_mean[3][2].item<float>(), 0.25F * 12);
    EXPECT_FLOAT_EQ(layer.q_pre_rope_cov[3][2][0].item<float>(), 0.25F * 34);
    EXPECT_FLOAT_EQ(layer.repeat_maxima[1][5].item<float>(), 0.25F * 12);
    EXPECT_FALSE(layer.repeat_maxima_plus.defined());
}

TEST(TraceReader, ReadsWhatThePromptLeadsTo)
{
    const auto next = [](std::int64_t id) {
        return [id](hid_t file) { raw_dataset(file, "/tokens/next_id", H5T_STD_I64LE, {1}, &id); };
    };
    const TemporaryFolder folder;
    EXPECT_EQ(Trace(raw_trace(folder / "old.h5")).info().next_id, -1);
    EXPECT_EQ(Trace(raw_trace(folder / "x.h5", next(6))).info().next_id, 6);
    EXPECT_EQ(refusal(next(7)), "/tokens/next_id: expected an id below vocab_size, 7, found 7");
    EXPECT_EQ(refusal(next(-1)), "/tokens/next_id: expected an id of at least 0, found -1");
    EXPECT_EQ(refusal([&](hid_t file) {
        next(3)(file);
        raw_attribute(file, "/run", "continuation", "greedy");
    }),
        "/tokens/eval_ids: expected a greedy continuation to start with next_id, 3, found 1");
}

TEST(TraceReader, RefusesARotaryEmbeddingThatDoesNotFit)
{
    const auto rope = [](const std::vector<double>& frequencies) {
        return refusal([&](hid_t file) {
            raw_dataset(file, "/model/rope_inv_freq", H5T_IEEE_F64LE, {frequencies.size()}, frequencies.data());
        });
    };
    EXPECT_EQ(rope({1, 0.5}), "/model/rope_inv_freq: expected at most head_dim / 2 numbers, 1, found 2");
    EXPECT_EQ(rope({std::numeric_limits<double>::infinity()}),
        "/model/rope_inv_freq: expected finite numbers, found inf at [0]");
    EXPECT_EQ(refusal([](hid_t file) { raw_attribute(file, "/model", "rope_attention_scaling", std::int64_t(0)); }),
        "/model: rope_attention_scaling: expected a number above 0, found 0.000000");
}

TEST(TraceReader, RefusesSizesThatContradictEachOther)
{
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/model", "num_kv_heads", 3); }),
        "/model: num_heads: expected a multiple of num_kv_heads, 3, found 4");
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/run", "window", 7); }),
        "/run: window: expected at most seq_len, 6, found 7");
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/run", "seq_len", -6); }),
        "/run: seq_len: expected 1 to 2147483647, found -6");
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/model", "head_dim", std::int64_t(1) << 40); }),
        "/model: head_dim: expected 1 to 2147483647, found 1099511627776");
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/model", "num_layers", 3); }),
        "/layers/02: missing, expected a group");
    EXPECT_EQ(refusal([](hid_t file) { set_size(file, "/model", "num_layers", 1); }),
        "/layers: expected as many layers as num_layers, 1, found 2");
    EXPECT_EQ(
        refusal([](hid_t file) { raw_delete_attribute(file, "/run", "window"); }), "/run: attribute window: missing");
    EXPECT_EQ(refusal([](hid_t file) { raw_attribute(file, "/run", "window", "two"); }),
        "/run: attribute window: expected an integer, found a string");
}

TEST(TraceReader, RefusesDatasetsThatDoNotFit)
{
    EXPECT_EQ(refusal([](hid_t file) {
        raw_floats(file, "/layers/01/k", {2, 5, 3});
    }),
        "/layers/01/k: expected [2, 6, 3], found [2, 5, 3]");
    EXPECT_EQ(refusal([](hid_t file) {
        raw_floats(file, "/layers/00/q_pre_rope_cov", {4, 3, 3});
    }),
        "/layers/01/q_pre_rope_cov: missing, expected one as in /layers/00");
    EXPECT_EQ(refusal([](hid_t file) { raw_floats(file, "/layers/01/attn_out", {10}); }),
        "/layers/01/attn_out: expected [2, 5], found [10]");
    EXPECT_EQ(
        refusal([](hid_t file) { raw_delete(file, "/layers/01/v"); }), "/layers/01/v: missing, expected a dataset");
    EXPECT_EQ(refusal([](hid_t file) { raw_delete(file, "/layers/01/q_eval"); }),
        "/layers/01/q_eval: missing, expected one as in /layers/00");
    EXPECT_EQ(refusal([](hid_t file) { raw_delete(file, "/layers/00/b_o"); }),
        "/layers/01/b_o: expected none, as in /layers/00");
    EXPECT_EQ(refusal([](hid_t file) { raw_delete(file, "/model"); }), "/model: missing, expected a group");
    EXPECT_EQ(refusal([](hid_t file) {
        raw_floats(file, "/logits", {2, 8});
    }),
        "/logits: expected [2, 7], found [2, 8]");
}

TEST(TraceReader, RefusesTypesThatItDoesNotKnow)
{
    const std::vector<double> doubles(36, 1.0);
    EXPECT_EQ(refusal([&](hid_t file) {
        raw_dataset(file, "/layers/00/k", H5T_IEEE_F64LE, {2, 6, 3}, doubles.data());
    }),
        "/layers/00/k: expected float32, float16, bfloat16 or uint16 with the attribute dtype = bfloat16, found "
        "float64");
    EXPECT_EQ(refusal([&](hid_t file) {
        raw_dataset(file, "/layers/00/k", H5T_IEEE_F32BE, {2, 6, 3}, doubles.data());
    }),
        "/layers/00/k: expected little-endian numbers, found floating-point numbers of 32 bits, big endian");
    EXPECT_THAT(refusal([&](hid_t file) {
        raw_dataset(file, "/layers/00/k", H5T_STD_U16LE, {2, 6, 3}, doubles.data());
    }),
        EndsWith("found uint16"));
    EXPECT_EQ(refusal([&](hid_t file) { raw_dataset(file, "/tokens/prompt_ids", H5T_STD_I32LE, {6}, doubles.data()); }),
        "/tokens/prompt_ids: expected int64, found int32");
}

TEST(TraceReader, RefusesTokensAndSpansOutside)
{
    const auto spans = [](std::int64_t begin, std::int64_t end) {
        return refusal([=](hid_t file) {
            const std::int64_t bounds[] = {begin, end};
            raw_dataset(file, "/spans", H5T_STD_I64LE, {1, 2}, bounds);
            raw_attribute(file, "/spans", "names", R"(["needle"])");
        });
    };
    EXPECT_EQ(spans(4, 7), "/spans: needle: expected tokens within [0, 6), at least one, found [4, 7)");
    EXPECT_EQ(spans(-1, 2), "/spans: needle: expected tokens within [0, 6), at least one, found [-1, 2)");
    EXPECT_EQ(spans(3, 3), "/spans: needle: expected tokens within [0, 6), at least one, found [3, 3)");
    EXPECT_EQ(refusal([](hid_t file) { raw_attribute(file, "/spans", "names", "[\"a\", \"b\"]"); }),
        "/spans: attribute names: expected a JSON array of 1 strings");
    EXPECT_EQ(refusal([](hid_t file) {
        const std::int64_t offsets[] = {0, 1, 2, 4, 3, 5, 6, 7, 8};
        raw_dataset(file, "/tokens/text_offsets", H5T_STD_I64LE, {9}, offsets);
    }),
        "/tokens/text_offsets: expected ascending offsets, found 3 after 4");
    EXPECT_EQ(refusal([](hid_t file) {
        const std::int64_t offsets[] = {0, 1, 2, 4, 4, 5, 6, 7, 80};
        raw_dataset(file, "/tokens/text_offsets", H5T_STD_I64LE, {9}, offsets);
    }),
        "/tokens/text_offsets: expected 0 to the size of text_bytes, 8, found 0 to 80");
}

TEST(TraceReader, RefusesAbsurdDimensionsBeforeAllocating)
{
    const auto message = refusal([](hid_t file) {
        const hsize_t n = 2000000000;
        set_size(file, "/run", "seq_len", static_cast<std::int64_t>(n));
        for (const auto* path : {"/layers/00/k", "/layers/00/v"})
            raw_dataset(file, path, H5T_IEEE_F32LE, {2, n, 3}, nullptr); // declared, never written
        for (const auto* name : {"tokens", "spans"})
            raw_delete(file, name);
    });
    EXPECT_THAT(message, StartsWith("/layers/00/k: shape [2, 2000000000, 3] of float32 cannot be: 0 bytes are stored"));
}

TEST(TraceReader, NamesThePlaceOfANumberThatIsNotFinite)
{
    const TemporaryFolder folder;
    const Trace trace(raw_trace(folder / "x.h5", [](hid_t file) {
        std::vector<float> values(36, 1.0F);
        values[35] = std::numeric_limits<float>::quiet_NaN();
        raw_floats(file, "/layers/01/k", {2, 6, 3}, values);
        values[3] = -std::numeric_limits<float>::infinity();
        raw_floats(file, "/layers/00/resid_mid", {2, 5}, {values.begin(), values.begin() + 10});
    }));
    EXPECT_THAT(error_of([&] { (void)trace.layer(1); }),
        EndsWith("x.h5: /layers/01/k: expected finite numbers, found NaN at [1, 5, 2]"));
    EXPECT_THAT(error_of([&] { (void)trace.layer(0); }),
        EndsWith("x.h5: /layers/00/resid_mid: expected finite numbers, found -infinity at [0, 3]"));
    EXPECT_THAT(error_of([&] { (void)trace.layer(2); }), EndsWith("layer: expected 0 to 1, found 2"));
}

TEST(TraceReader, SaysWhereAMissingWeightsFileIsExpected)
{
    const TemporaryFolder folder;
    const auto file = raw_trace(folder / "x.h5", [](hid_t id) {
        for (const auto* path : {"/layers/00/w_o", "/layers/01/w_o"}) {
            raw_delete(id, path);
            H5Lcreate_external("gone.h5", path, id, path, H5P_DEFAULT, H5P_DEFAULT);
        }
    });
    EXPECT_EQ(error_of([&] { Trace trace(file); }),
        file.string() + ": /layers/00/w_o: links to the weights file " + (folder / "gone.h5").string()
            + ", but there is no such file");
    raw_trace(folder / "gone.h5"); // a file, but not one of weights
    EXPECT_EQ(error_of([&] { Trace trace(file); }),
        (folder / "gone.h5").string() + ": attribute format: expected lava-weights, found lava-trace");
}

} // namespace

} // namespace lava::test
