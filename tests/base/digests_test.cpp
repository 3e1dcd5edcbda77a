// A byte that changed in a file is noticed, wherever it is.

#include "base/error.h"
#include "tests/base/raw_h5.h"
#include "traces/synthesize.h"
#include "traces/trace.h"
#include "traces/trace_writer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lava::test {

namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr const char* changed = "does not match its digest: the file is damaged, or was changed since it was written";

SynthesisOptions small(StoreType store)
{
    SynthesisOptions options;
    options.shape = {.num_layers = 2, .num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .hidden_size = 10};
    options.seq_len = 30;
    options.eval_len = 4;
    options.window = 5;
    options.store = store;
    return options;
}

/// A trace with everything in it, its weights in a file of their own.
void write_whole(const std::filesystem::path& folder, StoreType store, int deflate = 0)
{
    const auto options = small(store);
    auto info = synthesize_info(options);
    info.weights_sha256 = std::string(64, 'a');
    info.vocab_size = 7;
    info.layer_windows = {0, 0};
    info.layer_numbers = {1, 4};
    info.kv_head_numbers = {0, 1};
    for (int i = 0; i < 30; ++i)
        info.prompt_ids.push_back(i), info.prompt_texts.emplace_back(1, static_cast<char>('A' + i));
    info.eval_ids = {1, 2, 3, 4};
    info.eval_texts = {"a", "b", "c", "d"};
    TraceWriter writer(folder / "x.h5", info, {.store = store, .weights_file = folder / "w.h5", .deflate = deflate});
    for (std::int64_t layer = 0; layer < 2; ++layer)
        writer.write_layer(synthesize_layer(options, layer));
    writer.write_logits(at::ones({4, 7}));
    writer.finish();
}

void read_all(const std::filesystem::path& file)
{
    const Trace trace(file);
    for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer)
        (void)trace.layer(layer);
    (void)trace.logits();
}

/// Every dataset's path and where its bytes lie.
std::vector<std::pair<std::string, haddr_t>> datasets_of(const std::filesystem::path& file)
{
    std::vector<std::pair<std::string, haddr_t>> found;
    const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    const auto visit = [](hid_t root, const char* name, const H5O_info_t* info, void* list) -> herr_t {
        if (info->type != H5O_TYPE_DATASET)
            return 0;
        const hid_t dataset = H5Dopen2(root, name, H5P_DEFAULT);
        if (const haddr_t offset = H5Dget_offset(dataset); offset != HADDR_UNDEF)
            static_cast<std::vector<std::pair<std::string, haddr_t>>*>(list)->emplace_back(
                "/" + std::string(name), offset + H5Dget_storage_size(dataset) / 2);
        H5Dclose(dataset);
        return 0;
    };
    H5Ovisit2(id, H5_INDEX_NAME, H5_ITER_NATIVE, visit, &found, H5O_INFO_BASIC);
    H5Fclose(id);
    return found;
}

void flip(const std::filesystem::path& file, haddr_t offset, char bits = 1)
{
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const auto byte = static_cast<char>(stream.get() ^ bits);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(byte);
}

TEST(Digests, AFlippedBitInAnyDatasetOfTraceAndWeightsIsRefusedByName)
{
    for (const auto store : {StoreType::f32, StoreType::bf16}) {
        const TemporaryFolder folder;
        write_whole(folder.path(), store);
        read_all(folder / "x.h5");
        std::size_t count = 0;
        for (const auto* name : {"x.h5", "w.h5"}) {
            for (const auto& [path, offset] : datasets_of(folder / name)) {
                flip(folder / name, offset);
                const auto message = error_of([&] { read_all(folder / "x.h5"); });
                EXPECT_THAT(message, HasSubstr("x.h5: " + path + ": " + changed));
                EXPECT_EQ(name == std::string("w.h5"), message.ends_with("(in " + (folder / "w.h5").string() + ")"));
                flip(folder / name, offset);
                ++count;
            }
        }
        EXPECT_EQ(count, 2 * 16 + 9 + 3); // layers, what belongs to the whole run, w_o in its own file
    }
}

TEST(Digests, ADeflatedDatasetHasThemToo)
{
    const TemporaryFolder folder;
    write_whole(folder.path(), StoreType::f32, 1);
    read_all(folder / "x.h5");
    const hid_t id = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(id, "/layers/01/v", H5P_DEFAULT);
    auto values = raw_read_floats(id, "/layers/01/v");
    values[77] *= 1.5F;
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(dataset);
    H5Fclose(id);
    EXPECT_EQ(error_of([&] { read_all(folder / "x.h5"); }), (folder / "x.h5").string() + ": /layers/01/v: " + changed);
}

TEST(Digests, ChangedAttributesAndMissingDatasetsAreNamed)
{
    const auto after = [](const std::function<void(hid_t)>& edit) {
        const TemporaryFolder folder;
        write_whole(folder.path(), StoreType::f32);
        const hid_t id = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
        edit(id);
        H5Fclose(id);
        return error_of([&] { read_all(folder / "x.h5"); }).substr((folder / "x.h5").string().size() + 2);
    };
    EXPECT_EQ(after([](hid_t id) { raw_attribute(id, "/run", "window", std::int64_t(4)); }),
        std::string("/run: attribute window: ") + changed);
    EXPECT_EQ(after([](hid_t id) { raw_attribute(id, "/run", "dtype", "bfloat16"); }),
        std::string("/run: attribute dtype: ") + changed);
    EXPECT_EQ(after([](hid_t id) { raw_delete_attribute(id, "/model", "rope_attention_scaling"); }),
        "/model: attribute rope_attention_scaling: missing, though it was written: the file is damaged, or was changed "
        "since");
    EXPECT_EQ(after([](hid_t id) { raw_delete(id, "/model/layer_windows"); }),
        "/model/layer_windows: missing, though it was written: the file is damaged, or was changed since");
    EXPECT_EQ(after([](hid_t id) { raw_attribute(id, "/spans", "names", R"(["other"])"); }),
        std::string("/spans: attribute names: ") + changed);
}

TEST(Digests, WhatIsAddedIsIgnoredAndOlderFilesHaveNone)
{
    const TemporaryFolder folder;
    write_whole(folder.path(), StoreType::f32);
    EXPECT_TRUE(Trace(folder / "x.h5").info().has_digests);
    const hid_t id = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    raw_attribute(id, "/run", "note", "mine");
    raw_floats(id, "/layers/00/something_new", {3});
    H5Fclose(id);
    read_all(folder / "x.h5");
    EXPECT_FALSE(Trace(raw_trace(folder / "old.h5")).info().has_digests);
}

/// Each byte in turn, in steps: either a sentence, or nothing that a reader would see.
} // namespace

} // namespace lava::test
