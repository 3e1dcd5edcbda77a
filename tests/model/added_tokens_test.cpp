#include "base/error.h"
#include "model/tokenizer.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

/// tokenizer.json with the letters a to f and the space as ids 0 to 6, "bed" as 7, and the added tokens <x> as 8 and
/// <y> as 9, beside a tokenizer_config.json; what is expected is what transformers 5.2 makes of such a folder.
class AddedTokensFiles : public testing::Test
{
protected:
    AddedTokensFiles()
    {
        Json vocab = {{"\u0120", 6}, {"bed", 7}};
        for (int letter = 0; letter < 6; ++letter) {
            vocab[std::string(1, static_cast<char>('a' + letter))] = letter;
        }
        json_ = {{"added_tokens", {token("<x>", true, 8), token("<y>", false, 9)}},
            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
    }

    static Json token(const std::string& text, bool special, int id = -1)
    {
        Json result = {{"content", text}, {"special", special}, {"normalized", false}, {"single_word", false},
            {"lstrip", false}, {"rstrip", false}};
        if (id >= 0) {
            result["id"] = id;
        }
        return result;
    }

    std::unique_ptr<Tokenizer> read(const Json& config) const
    {
        std::ofstream(folder_ / "tokenizer.json") << json_;
        std::ofstream(folder_ / "tokenizer_config.json") << (config.is_null() ? Json::object() : config);
        return read_tokenizer(folder_.path());
    }
    Ids ids(const Json& config, const std::string& text) const { return read(config)->encode(text, true).ids; }

    TemporaryFolder folder_;
    Json json_;
};

TEST_F(AddedTokensFiles, TakeTheirFlagsFromTokenizerConfig)
{
    const auto with = [](const std::string& flag) {
        Json changed = token("<x>", true);
        changed[flag] = true;
        return Json{{"added_tokens_decoder", {{"8", changed}}}};
    };
    EXPECT_EQ(ids({}, "a <x> b"), (Ids{0, 6, 8, 6, 1}));
    EXPECT_EQ(ids(with("lstrip"), "a <x> b"), (Ids{0, 8, 6, 1}));
    EXPECT_EQ(ids(with("rstrip"), "a <x> b"), (Ids{0, 6, 8, 1}));
    EXPECT_EQ(ids(with("single_word"), "a <x> b"), (Ids{0, 6, 8, 6, 1}));
    EXPECT_THROW(ids(with("single_word"), "a<x>b"), Error); // "<" has no token
}

TEST_F(AddedTokensFiles, AreSpecialWhereOneFileSaysSo)
{
    EXPECT_EQ(read({})->decode({8, 9}), "<y>");
    EXPECT_EQ(read({{"added_tokens_decoder", {{"9", token("<y>", true)}}}})->decode({8, 9}), "");
    EXPECT_EQ(read({{"added_tokens_decoder", {{"8", token("<x>", false)}}}})->decode({8, 9}), "<y>");
}

TEST_F(AddedTokensFiles, OfTheSameTextTakeTheLastFlags)
{
    Json again = token("<x>", true, 8);
    again["lstrip"] = true;
    json_["added_tokens"].push_back(again);
    EXPECT_EQ(ids({}, "a <x> b"), (Ids{0, 8, 6, 1}));
}

TEST_F(AddedTokensFiles, ThatOnlyTokenizerConfigHasGoOnBehindTheOthers)
{
    EXPECT_EQ(ids({{"added_tokens_decoder", {{"10", token("<z>", true)}, {"11", token("<w>", true)}}}}, "<w><z>"),
        (Ids{11, 10}));
    EXPECT_EQ(ids({{"additional_special_tokens", {"<z>", "<w>"}}}, "<w><z>"), (Ids{11, 10}));
    EXPECT_EQ(ids({{"extra_special_tokens", {"<w>", "<z>"}}}, "<w><z>"), (Ids{10, 11}));
    EXPECT_EQ(
        ids({{"pad_token", "<z>"}, {"extra_special_tokens", {"<v>"}}, {"image_token", "<w>"}, {"bos_token", "<u>"}},
            "<u><z><w><v>"),
        (Ids{10, 11, 12, 13}));
    EXPECT_EQ(ids({{"extra_special_tokens", {{"image_token", "<z>"}}}}, "<z>"), (Ids{10}));
    EXPECT_EQ(read({{"extra_special_tokens", {"<z>"}}})->decode({10, 9}), "<y>");
}

TEST_F(AddedTokensFiles, OfTheVocabularyKeepTheirIds)
{
    EXPECT_EQ(ids({}, "abed"), (Ids{0, 1, 4, 3}));
    EXPECT_EQ(ids({{"eos_token", "bed"}}, "abed"), (Ids{0, 7}));
    EXPECT_EQ(ids({{"extra_special_tokens", {"bed"}}}, "abed"), (Ids{0, 7}));
    EXPECT_EQ(ids({{"extra_special_tokens", {"<y>"}}}, "<y>"), (Ids{9}));
    EXPECT_EQ(read({{"extra_special_tokens", {"<y>"}}})->decode({9}), "<y>"); // as tokenizer.json has it
}

TEST_F(AddedTokensFiles, WithFlagsOfTheirOwnMayBeNamedAsExtra)
{
    Json wide = token("<z>", true);
    wide["__type"] = "AddedToken";
    wide["lstrip"] = true;
    EXPECT_EQ(ids({{"extra_special_tokens", {wide}}}, "a <z> b"), (Ids{0, 10, 6, 1}));
    EXPECT_EQ(ids({{"pad_token", wide}}, "a <z> b"), (Ids{0, 10, 6, 1}));
}

TEST_F(AddedTokensFiles, OfTheOlderKeyCountOnlyWithoutTheNewerOne)
{
    EXPECT_EQ(
        ids({{"additional_special_tokens", {"bed"}}, {"extra_special_tokens", {"<z>"}}}, "bed<z>"), (Ids{1, 4, 3, 10}));
    std::ofstream(folder_ / "special_tokens_map.json") << R"({"additional_special_tokens": ["bed"]})";
    EXPECT_EQ(ids({}, "bed"), (Ids{7}));
    EXPECT_EQ(ids({{"added_tokens_decoder", {{"8", token("<x>", true)}}}}, "bed"), (Ids{1, 4, 3}));
}

TEST_F(AddedTokensFiles, WithIdsThatTheLibraryWouldNotGiveAreRefused)
{
    const auto refuses = [&](const Json& config, const std::string& message) {
        EXPECT_THAT([&] { read(config); }, ThrowsMessage<Error>(HasSubstr(message)));
    };
    refuses({{"added_tokens_decoder", {{"20", token("<z>", true)}}}},
        "tokenizer_config.json: expected the added token '<z>' to have the next free id, as the tokenizers library "
        "gives "
        "it, 10, not 20");
    refuses({{"added_tokens_decoder", {{"8", token("<z>", true)}}}}, "10, not 8");
    refuses({{"added_tokens_decoder", {{"20", token("bed", true)}}}}, "'bed' to have its id of the vocab, 7, not 20");
    refuses({{"image_token", "<z>"}, {"audio_token", "<w>"}}, "at most one model-specific special token without an id");
    refuses({{"split_special_tokens", true}}, "split_special_tokens: expected false");
    json_["added_tokens"] = {token("<x>", true, 9), token("<y>", true, 8)};
    refuses({}, "tokenizer.json: expected the added token '<x>' to have the next free id");
}

TEST_F(AddedTokensFiles, LeaveAnUnknownTokenOutOfTheVocabularyUntilItIsNeeded)
{
    json_["model"]["unk_token"] = "[UNK]";
    EXPECT_EQ(ids({}, "bad"), (Ids{1, 0, 3}));
    EXPECT_THAT([&] { ids({}, "z"); }, ThrowsMessage<Error>(HasSubstr("no token for byte 122")));
}

TEST_F(AddedTokensFiles, MayComeWithSequencesInSequences)
{
    const auto nested = [](const char* key, const Json& element) {
        return Json{{"type", "Sequence"},
            {key, {{{"type", "Sequence"}, {key, {element}}}, {{"type", "Sequence"}, {key, Json::array()}}}}};
    };
    const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
    json_["pre_tokenizer"]
        = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Sequence"}, {"pretokenizers", {byte_level}}}}}};
    json_["normalizer"]
        = nested("normalizers", {{"type", "Replace"}, {"pattern", {{"String", "d"}}}, {"content", "e"}});
    json_["decoder"] = nested("decoders", {{"type", "ByteLevel"}});
    json_["post_processor"] = nested("processors",
        {{"type", "TemplateProcessing"},
            {"single",
                {{{"SpecialToken", {{"id", "<x>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"pair", Json::array()},
            {"special_tokens", {{"<x>", {{"id", "<x>"}, {"ids", {8}}, {"tokens", {"<x>"}}}}}}});
    EXPECT_EQ(ids({}, "bad"), (Ids{8, 6, 1, 0, 4}));
    EXPECT_EQ(read({})->decode({6, 1}), " b");
}

TEST_F(AddedTokensFiles, WithSequencesWithoutEndAreRefused)
{
    Json deep = {{"type", "NFC"}};
    for (int i = 0; i < 60; ++i) {
        deep = {{"type", "Sequence"}, {"normalizers", Json::array({deep})}};
    }
    json_["normalizer"] = deep;
    EXPECT_THAT([&] { read({}); }, ThrowsMessage<Error>(HasSubstr("sequences at most 50 deep in one another")));
}

} // namespace
} // namespace lava
