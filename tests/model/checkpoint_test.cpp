#include "model/checkpoint.h"

#include "base/error.h"
#include "base/sha256.h"
#include "model/decoder.h"
#include "model/safetensors.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <random>
#include <string>

namespace lava {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

const std::filesystem::path stories_folder = LAVA_SOURCE_DIR "/models/stories260K";

std::string with_length(std::uint64_t length, const std::string& rest)
{
    std::string file(sizeof length, '\0');
    std::memcpy(file.data(), &length, sizeof length);
    return file + rest;
}

std::map<std::string, StoredTensor> read(const std::string& file)
{
    return read_safetensors(std::as_bytes(std::span(file)), "m.safetensors");
}

/// A file of `header` and `data_bytes` bytes of data is refused in a sentence that names it.
void expect_refused(const std::string& header, std::size_t data_bytes, const std::string& reason)
{
    const auto file = with_length(header.size(), header + std::string(data_bytes, 'x'));
    EXPECT_THAT([&] { read(file); }, ThrowsMessage<Error>(AllOf(StartsWith("m.safetensors: "), HasSubstr(reason))))
        << header;
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets)
{
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST(Safetensors, AreReadAsWritten)
{
    const std::string header
        = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},)"
          R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";
    const auto file = with_length(header.size(), header + "abcdefghijkl");
    const auto tensors = read(file);
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(tensors.at("a").shape, (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(tensors.at("b").dtype, "F16");
    EXPECT_EQ(std::memcmp(tensors.at("b").bytes.data(), "ijkl", 4), 0);
    EXPECT_EQ(tensors.at("b").bytes.size(), 4u);
}

TEST(Safetensors, LengthsThatLieAreRefused)
{
    EXPECT_THAT([] { read("short"); }, ThrowsMessage<Error>(HasSubstr("found only 5 bytes")));
    EXPECT_THAT([] { read(with_length(100, "{}")); },
        ThrowsMessage<Error>(HasSubstr("header claims 100 bytes, the file has 10")));
    EXPECT_THAT([] { read(with_length(~std::uint64_t{0}, "{}")); },
        ThrowsMessage<Error>(HasSubstr("header claims 18446744073709551615 bytes")));
}

TEST(Safetensors, HeadersThatAreNoHeadersAreRefused)
{
    expect_refused("{\"a\":", 0, "the safetensors header is not JSON");
    expect_refused("[1]", 0, "the safetensors header is not a JSON object");
    expect_refused(R"({"a":7})", 0, "tensor a: expected {dtype, shape, data_offsets}, found 7");
    expect_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "tensor a: expected a list data_offsets, found none");
    expect_refused(one("F32", "[-1]", "[0,4]"), 4, "tensor a: shape: expected non-negative integers, found [-1]");
    expect_refused(one("F32", "[1.5]", "[0,4]"), 4, "expected non-negative integers, found [1.5]");
    expect_refused(one("F12", "[1]", "[0,4]"), 4, "tensor a: unknown dtype F12");
    expect_refused(one("F4", "[3]", "[0,2]"), 2, "tensor a: expected elements that fill whole bytes, found 12 bits");
    expect_refused(one("F6_E2M3", "[4]", "[0,4]"), 4, "tensor a: expected 3 bytes for F6_E2M3 [4], found 4");
    expect_refused(
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        1, "tensor a appears twice");
}

TEST(Safetensors, OffsetsThatLieAreRefused)
{
    expect_refused(one("F32", "[2]", "[0,8]"), 4, "tensor a: ends at byte 8 of the data, but the file holds 4");
    expect_refused(one("F32", "[2]", "[0,4]"), 4, "tensor a: expected 8 bytes for F32 [2], found 4");
    expect_refused(one("F32", "[1]", "[8,4]"), 8, "tensor a: data_offsets: expected [begin, end], found [8,4]");
    expect_refused(one("F32", "[1]", "[0]"), 4, "data_offsets: expected [begin, end], found [0]");
    expect_refused(one("F32", "[4294967296,4294967296]", "[0,4]"), 4, "does not fit into 64 bits");
    expect_refused(one("F32", "[1]", "[4,8]"), 8, "begins at byte 4, which leaves a gap; expected 0");
    expect_refused(one("F32", "[1]", "[0,4]"), 9, "expected 4 bytes of data, found 9");
    expect_refused(
        R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
        6, "tensor b: begins at byte 2, which overlaps another tensor; expected 4");
}

TEST(Safetensors, DamagedAtRandomAreReadOrRefusedButNeverReadBeyond)
{
    const std::string header
        = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
          R"("b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}})";
    const auto whole = with_length(header.size(), header + "abcdefghijkl");
    const std::string likely = R"({}[]",:0123456789-.eFabu\ )";
    std::mt19937 random(3);
    int refused = 0;
    for (int round = 0; round < 20000; ++round) {
        auto file = whole;
        for (auto changes = 1 + random() % 3; changes > 0; --changes)
            file[random() % file.size()]
                = random() % 4 ? likely[random() % likely.size()] : static_cast<char>(random());
        if (random() % 8 == 0)
            file.resize(random() % file.size());
        try {
            for (const auto& [name, tensor] : read(file)) {
                const auto* begin = reinterpret_cast<const char*>(tensor.bytes.data());
                ASSERT_GE(begin, file.data() + sizeof(std::uint64_t)) << file;
                ASSERT_LE(begin + tensor.bytes.size(), file.data() + file.size()) << file;
            }
        } catch (const Error&) {
            ++refused;
        }
    }
    EXPECT_GT(refused, 10000);
    EXPECT_LT(refused, 20000) << "damage to a name or a number of the data does no harm";
}

TEST(Checkpoint, GivesATensorOfTheShapeAskedFor)
{
    const Checkpoint checkpoint(stories_folder);
    const std::vector<std::int64_t> shape{32, 64}, wrong{64, 32};
    const std::string name = "model.layers.4.self_attn.k_proj.weight";
    EXPECT_TRUE(checkpoint.has(name));
    EXPECT_EQ(checkpoint.tensor(name, shape).scalar_type(), at::kFloat);
    EXPECT_THAT([&] { checkpoint.tensor(name, wrong); },
        ThrowsMessage<Error>(AllOf(
            HasSubstr("model.safetensors: tensor " + name), HasSubstr("expected shape [64, 32], found [32, 64]"))));
    EXPECT_THAT(
        [&] { checkpoint.tensor("lm_head.weight", shape); }, ThrowsMessage<Error>(HasSubstr("found no such tensor")));
}

TEST(Checkpoint, ItsTensorsOutliveIt)
{
    const std::vector<std::int64_t> shape{512, 64};
    const auto tensor = Checkpoint(stories_folder).tensor("model.embed_tokens.weight", shape);
    EXPECT_TRUE(tensor.isfinite().all().item<bool>());
}

/// A folder with stories260K's config and weights of a test's own.
class BrokenCheckpoint : public testing::Test
{
protected:
    void SetUp() override
    {
        std::filesystem::create_directories(folder);
        std::filesystem::copy_file(stories_folder / "config.json", folder / "config.json");
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    void write(const std::string& name, const std::string& text) const { std::ofstream(folder / name) << text; }

    const std::filesystem::path folder = std::filesystem::path(testing::TempDir())
        / (std::string("lava_checkpoint_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(BrokenCheckpoint, WithoutWeightsIsRefused)
{
    EXPECT_THAT([&] { Checkpoint{folder}; }, ThrowsMessage<Error>(HasSubstr("model.safetensors: no such file")));
    write("model.safetensors", "");
    EXPECT_THAT([&] { Checkpoint{folder}; }, ThrowsMessage<Error>(HasSubstr("found only 0 bytes")));
}

TEST_F(BrokenCheckpoint, LeftToGitLfsIsRefusedAsSuch)
{
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n";
    write("model.safetensors", pointer);
    EXPECT_THAT([&] { Checkpoint{folder}; },
        ThrowsMessage<Error>((folder / "model.safetensors").string()
            + ": a Git LFS pointer, not the file itself of 269060552 bytes: `git lfs pull` in its folder fetches it"));
    std::filesystem::remove(folder / "model.safetensors");
    for (const char* name : {"model.safetensors.index.json", "config.json"}) {
        write(name, pointer);
        EXPECT_THAT([&] { Checkpoint{folder}; }, ThrowsMessage<Error>(HasSubstr(name + std::string(": a Git LFS"))));
    }
}

TEST_F(BrokenCheckpoint, SaysWhatConfigJsonLeavesOpenWhereAShapeDoesNotFit)
{
    std::filesystem::copy_file(stories_folder / "model.safetensors", folder / "model.safetensors");
    auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
    config.erase("intermediate_size");
    config.erase("tie_word_embeddings");
    write("config.json", config.dump());
    const std::string left = "; config.json leaves to the family: intermediate_size 11008, tie_word_embeddings false";
    EXPECT_THAT([&] { check_tensors(Checkpoint(folder)); },
        ThrowsMessage<Error>(AllOf(HasSubstr("expected shape [11008, 64], found [172, 64]" + left))));
    config["intermediate_size"] = 172;
    write("config.json", config.dump());
    EXPECT_THAT([&] { check_tensors(Checkpoint(folder)); },
        ThrowsMessage<Error>(HasSubstr("tensor lm_head.weight: expected shape [512, 64], found no such tensor; "
                                       "config.json leaves to the family: tie_word_embeddings false")));
    EXPECT_NO_THROW(check_tensors(Checkpoint(stories_folder)));
}

/// A folder of two shards.
class Shards : public BrokenCheckpoint
{
protected:
    void SetUp() override
    {
        BrokenCheckpoint::SetUp();
        write("a.safetensors", shard("x", "abcdefgh"));
        write("b.safetensors", shard("y", "ijklmnop"));
        write_index(R"({"x": "a.safetensors", "y": "b.safetensors"})");
    }
    void write_index(const std::string& map) const
    {
        write("model.safetensors.index.json", R"({"metadata": {"total_size": 16}, "weight_map": )" + map + "}");
    }
    static std::string shard(const std::string& tensor, const std::string& data)
    {
        const std::string header = R"({")" + tensor + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
        return with_length(header.size(), header + data);
    }
    void expect_refused(const std::string& reason) const
    {
        EXPECT_THAT(
            [&] { Checkpoint{folder}; }, ThrowsMessage<Error>(AllOf(StartsWith(folder.string()), HasSubstr(reason))));
    }
};

TEST_F(Shards, AreReadAsTheIndexSays)
{
    const Checkpoint checkpoint(folder);
    const std::vector<std::int64_t> shape{2};
    EXPECT_THAT(checkpoint.names(), testing::ElementsAre("x", "y"));
    EXPECT_EQ(std::memcmp(checkpoint.tensor("x", shape).data_ptr(), "abcdefgh", 8), 0);
    EXPECT_EQ(std::memcmp(checkpoint.tensor("y", shape).data_ptr(), "ijklmnop", 8), 0);
    EXPECT_THAT([&] { checkpoint.tensor("z", shape); },
        ThrowsMessage<Error>(HasSubstr(folder.string() + ": tensor z: expected shape [2], found no such tensor")));
}

TEST_F(Shards, MayBeLinksIntoTheHubsCache)
{
    std::filesystem::create_directories(folder / "blobs");
    for (const char* name : {"a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json"}) {
        std::filesystem::rename(folder / name, folder / "blobs" / (std::string(name) + "hash"));
        std::filesystem::create_symlink("blobs/" + std::string(name) + "hash", folder / name);
    }
    EXPECT_EQ(Checkpoint(folder).names().size(), 2u);
}

TEST_F(Shards, HaveTheHashOfTheirHashes)
{
    const auto line = [&](const char* name, const std::string& data) {
        return sha256(std::as_bytes(std::span(data))) + "  " + name + "\n";
    };
    const std::string lines
        = line("a.safetensors", shard("x", "abcdefgh")) + line("b.safetensors", shard("y", "ijklmnop"));
    EXPECT_EQ(Checkpoint(folder).sha256(), sha256(std::as_bytes(std::span(lines))));
}

TEST_F(Shards, MissingOrContradictingTheIndexAreRefused)
{
    write_index(R"({"x": "a.safetensors", "y": "c.safetensors"})");
    expect_refused("c.safetensors: no such file; model.safetensors.index.json lists it");
    write_index(R"({"x": "b.safetensors", "y": "b.safetensors"})");
    expect_refused("b.safetensors: tensor x is not there");
    write_index(R"({"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"})");
    expect_refused("b.safetensors: tensor z is not there");
    write_index(R"({"x": "a.safetensors"})");
    std::filesystem::remove(folder / "b.safetensors");
    EXPECT_EQ(Checkpoint(folder).names().size(), 1u) << "a file that the index does not list is not read";
    write("b.safetensors", shard("x", "ijklmnop"));
    write_index(R"({"x": "a.safetensors", "y": "b.safetensors"})");
    expect_refused("b.safetensors: tensor x is in a.safetensors too");
    write_index(R"({"x": "../a.safetensors"})");
    expect_refused("weight_map: x: expected a file name, found \"../a.safetensors\"");
    write_index("[]");
    expect_refused("model.safetensors.index.json: expected a JSON object with weight_map");
    write("model.safetensors.index.json", "{");
    expect_refused("model.safetensors.index.json: expected a JSON object with weight_map");
}

TEST_F(BrokenCheckpoint, NumbersThatAreNoneAreRefused)
{
    const std::string header = R"({"bf16":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},)"
                               R"("f16":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},)"
                               R"("f32":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    const auto written = [&](std::uint32_t f32, std::uint16_t f16, std::uint16_t bf16) {
        std::string data(16, '\0');
        std::memcpy(data.data() + 4, &f32, 4);
        std::memcpy(data.data() + 10, &f16, 2);
        std::memcpy(data.data() + 12, &bf16, 2);
        write("model.safetensors", with_length(header.size(), header + data));
        return Checkpoint(folder);
    };
    const auto refusal = [](const std::string& name) {
        return ThrowsMessage<Error>(HasSubstr("model.safetensors: tensor " + name + ": expected numbers, found NaN"));
    };
    const auto largest = written(0xff7fffff, 0x7bff, 0x7f7f);
    for (const char* name : {"f32", "f16", "bf16"})
        EXPECT_NO_THROW(largest.require_finite(name));
    const auto infinite = written(0xff800000, 0x7c00, 0x7f80), nan = written(0x7fc00000, 0xfe00, 0xffc0);
    for (const char* name : {"f32", "f16", "bf16"}) {
        EXPECT_THAT([&] { infinite.require_finite(name); }, refusal(name));
        EXPECT_THAT([&] { nan.require_finite(name); }, refusal(name));
    }
}

TEST_F(BrokenCheckpoint, CutShortIsRefused)
{
    std::filesystem::copy_file(stories_folder / "model.safetensors", folder / "model.safetensors");
    std::filesystem::resize_file(folder / "model.safetensors", 500000);
    EXPECT_THAT([&] { Checkpoint{folder}; },
        ThrowsMessage<Error>(
            AllOf(HasSubstr((folder / "model.safetensors").string()), HasSubstr("but the file holds"))));
}

TEST_F(BrokenCheckpoint, MisalignedAndIntegerTensors)
{
    const std::string header
        = R"({"i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"f":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}} )";
    const float value = 1.5f;
    std::string data(8, '\0');
    std::memcpy(data.data() + 4, &value, sizeof value);
    const std::string odd(header.size() % 2 ? "" : " ");
    write("model.safetensors", with_length(header.size() + odd.size(), header + odd + data));
    const Checkpoint checkpoint(folder);
    const std::vector<std::int64_t> shape{1};
    EXPECT_EQ(checkpoint.tensor("f", shape).item<float>(), 1.5f) << "a misaligned tensor is read all the same";
    EXPECT_THAT([&] { checkpoint.tensor("i", shape); },
        ThrowsMessage<Error>(HasSubstr("tensor i: expected dtype F32, F16 or BF16, found I32")));
}

TEST_F(BrokenCheckpoint, TypesThatAreNotComputedWithMayLieThereUnused)
{
    const std::vector<std::pair<std::string, std::size_t>> bits{{"C64", 64}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
        {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}, {"BOOL", 8}, {"U64", 64}};
    for (const auto& [dtype, size] : bits) {
        const std::string header = R"({"f":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":")" + dtype
            + R"(","shape":[2,4],"data_offsets":[4,)" + std::to_string(4 + size) + "]}}";
        write("model.safetensors", with_length(header.size(), header + std::string(4 + size, '\0')));
        const Checkpoint checkpoint(folder);
        const std::vector<std::int64_t> one{1}, eight{2, 4};
        EXPECT_EQ(checkpoint.tensor("f", one).item<float>(), 0) << dtype;
        EXPECT_THAT([&] { checkpoint.tensor("x", eight); },
            ThrowsMessage<Error>(HasSubstr("tensor x: expected dtype F32, F16 or BF16, found " + dtype)));
    }
}

TEST(Sha256, EqualsFips180Examples)
{
    const auto hash = [](const std::string& text) { return sha256(std::as_bytes(std::span(text))); };
    EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hash(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfTheWeightsIsWhatSha256sumPrints)
{
    EXPECT_EQ(Checkpoint(stories_folder).sha256(), "5e437fe92187c06a996f18e9cb0956bb8f832206041844b732ed3b8548b948aa");
}

} // namespace
} // namespace lava
