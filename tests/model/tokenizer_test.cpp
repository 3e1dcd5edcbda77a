#include "model/tokenizer.h"

#include "base/error.h"
#include "tests/model/llama_cpp_vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

const std::filesystem::path source_dir = LAVA_SOURCE_DIR;

std::unique_ptr<Tokenizer> smollm2()
{
    const std::filesystem::path folder = LAVA_SMOLLM2_DIR;
    return std::filesystem::exists(folder / "tokenizer.json") ? read_tokenizer(folder) : nullptr;
}

/// A folder with a tokenizer.json of our own: the bytes, "ab", "abc" and an added token.
class SmallBpe : public testing::Test
{
protected:
    void SetUp() override
    {
        folder_ = std::filesystem::path(testing::TempDir())
            / ("lava_bpe_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
        Json vocab;
        for (int c = 0x21; c < 0x7f; ++c) {
            vocab[std::string(1, static_cast<char>(c))] = c;
        }
        vocab["\u0120"] = 32; // the stand-in of a space
        vocab["ab"] = 200;
        vocab["abc"] = 201;
        json_ = {{"added_tokens",
                     {{{"id", 300}, {"content", "<end>"}, {"special", true}, {"normalized", false}},
                         {{"id", 301}, {"content", "<end>>"}, {"special", false}, {"normalized", false}}}},
            {"pre_tokenizer",
                {{"type", "Sequence"},
                    {"pretokenizers",
                        {{{"type", "Digits"}, {"individual_digits", true}},
                            {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}}},
            {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", {"ab", "c"}}}}}};
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::unique_ptr<Tokenizer> read() const
    {
        std::ofstream(folder_ / "tokenizer.json") << json_;
        return read_tokenizer(folder_);
    }

    std::filesystem::path folder_;
    Json json_;
};

TEST_F(SmallBpe, MergesByRankAndTakesTheLongestAddedToken)
{
    const Encoding encoding = read()->encode("abcab<end>><end>12", true);
    EXPECT_EQ(encoding.ids, (Ids{201, 200, 301, 300, '1', '2'}));
}

TEST_F(SmallBpe, RangesCoverTheTextInOrder)
{
    const std::string text = "abc ab<end> 12";
    const auto tokenizer = read();
    const Encoding encoding = tokenizer->encode(text, false);
    std::size_t at = 0;
    for (std::size_t i = 0; i < encoding.ids.size(); ++i) {
        EXPECT_EQ(encoding.ranges[i].begin, at);
        at = encoding.ranges[i].end;
        EXPECT_EQ(tokenizer->token_bytes(encoding.ids[i]),
            text.substr(encoding.ranges[i].begin, at - encoding.ranges[i].begin));
    }
    EXPECT_EQ(at, text.size());
}

TEST_F(SmallBpe, DecodesWithoutSpecialTokens)
{
    EXPECT_EQ(read()->decode({201, 300, ' ', 301}), "abc <end>>");
}

TEST_F(SmallBpe, NamesAByteTheVocabularyLacks)
{
    const auto tokenizer = read();
    EXPECT_THAT(
        [&] { tokenizer->encode("ab\n", false); }, ThrowsMessage<Error>(HasSubstr("no token for byte 10 at byte 2")));
}

TEST_F(SmallBpe, NamesTheFirstByteThatIsNotUtf8)
{
    const auto tokenizer = read();
    EXPECT_THAT(
        [&] { tokenizer->encode("ab\xff", false); }, ThrowsMessage<Error>(HasSubstr("not valid UTF-8 at byte 2")));
}

TEST_F(SmallBpe, RefusesOtherKindsByName)
{
    const Json good = json_;
    const auto refuses = [&](const char* pointer, const Json& value, const std::string& message) {
        json_ = good;
        json_[Json::json_pointer(pointer)] = value;
        EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr(message))) << pointer;
    };
    refuses("/model/type", "Unigram", "found \"Unigram\"");
    refuses("/normalizer", {{"type", "Lowercase"}}, "normalizer: expected NFC");
    refuses("/post_processor", {{"type", "BertProcessing"}}, "post_processor: expected ByteLevel");
    refuses("/decoder", {{"type", "WordPiece"}}, "decoder: expected ByteLevel");
    refuses("/pre_tokenizer", {{"type", "Whitespace"}}, "Whitespace");
    refuses("/pre_tokenizer/pretokenizers/1/use_regexp", true, "pretokenizers[1].use_regexp: a key that is not known");
    refuses("/pre_tokenizer/pretokenizers/0", {{"type", "ByteLevel"}}, "nothing behind ByteLevel");
    refuses("/model/merges/0", "a z", "model.merges[0]");
    refuses("/model/vocab/a", -1, "model.vocab[a]");
    refuses("/model/dropout", 0.1, "model.dropout");
    refuses("/model/unk_token", "<unk>", "model.unk_token");
    refuses("/added_tokens/0/lstrip", 1, "added_tokens[0].lstrip: expected true or false");
    refuses("/added_tokens/0/content", "ab", "to have its id of the vocab, 200, not 300");
    refuses("/layers", 1, "layers: a key that is not known");
}

TEST_F(SmallBpe, RefusesPatternsThatTwoLibrariesReadDifferently)
{
    for (const char* pattern : {"(?m:.)", "[a[b]]", "[a&&b]", "\\h", "\\p{L}{1,3}+", "(a", "\\p{Letter}"}) {
        json_["pre_tokenizer"]["pretokenizers"][0]
            = {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
        EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("pretokenizers[0].pattern: "))) << pattern;
    }
}

TEST_F(SmallBpe, GivesItsChatTemplateTheSpecialTokens)
{
    std::ofstream(folder_ / "tokenizer_config.json") << R"({"bos_token": {"content": "<end>"}, "eos_token": null,
        "chat_template": "{{ bos_token }}{% for m in messages %}{{ m.role }}{{ m.content }}{{ eos_token }}{% endfor %}"})";
    std::ofstream(folder_ / "special_tokens_map.json") << R"({"bos_token": "<unused>", "eos_token": "<end>>"})";
    EXPECT_EQ(read()->apply_chat_template({{"user", "Hi"}}), "<end>userHi<end>>");
}

TEST_F(SmallBpe, NeedsNoChatTemplateThatItCanReadForPlainText)
{
    std::ofstream(folder_ / "chat_template.jinja") << "\n{% include 'x' %}";
    const auto tokenizer = read();
    EXPECT_EQ(tokenizer->encode("ab", false).ids, (Ids{200}));
    EXPECT_THAT(
        [&] {
            tokenizer->apply_chat_template({{"user", "Hi"}});
        },
        ThrowsMessage<Error>(HasSubstr("chat_template.jinja: chat template: line 2: {% include %}")));
}

TEST_F(SmallBpe, SaysThatThereIsNoChatTemplate)
{
    const auto tokenizer = read();
    EXPECT_THAT(
        [&] {
            tokenizer->apply_chat_template({{"user", "Hi"}});
        },
        ThrowsMessage<Error>(HasSubstr("no chat template")));
}

TEST(SmolLM2Tokenizer, GivesLlamaCppsIdsForItsTests)
{
    const auto tokenizer = smollm2();
    if (!tokenizer) {
        GTEST_SKIP() << "no SmolLM2 in " << LAVA_SMOLLM2_DIR;
    }
    expect_llama_cpp_ids(*tokenizer, "smollm");
}

TEST(SmolLM2Tokenizer, AppliesItsOwnTemplate)
{
    const auto tokenizer = smollm2();
    if (!tokenizer) {
        GTEST_SKIP() << "no SmolLM2 in " << LAVA_SMOLLM2_DIR;
    }
    const std::string text = tokenizer->apply_chat_template({{"user", "Hello"}});
    EXPECT_EQ(text,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(tokenizer->encode(text, false).ids.front(), 1);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false).ids),
        "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\nuser\nHello\nassistant\n");
}

class Stories : public testing::Test
{
protected:
    std::unique_ptr<Tokenizer> tokenizer_ = read_tokenizer(source_dir / "models/stories260K");
};

TEST_F(Stories, EncodesAsLlama2cDoes)
{
    // llama2.c's own greedy output begins with these ids after BOS
    EXPECT_EQ(tokenizer_->encode("Once upon a time, there was a little girl named Lily.", true).ids,
        (Ids{1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426}));
}

TEST_F(Stories, TakesBytesForWhatTheVocabularyLacks)
{
    const Encoding encoding = tokenizer_->encode("\u00bd", true);
    EXPECT_EQ(encoding.ids.front(), 1);
    EXPECT_EQ(encoding.ids[encoding.ids.size() - 2], 0xc2 + 3);
    EXPECT_EQ(encoding.ids.back(), 0xbd + 3);
    EXPECT_EQ(tokenizer_->decode(encoding.ids), "\u00bd");
}

TEST_F(Stories, LeavesTheDummySpaceOutOfTheRanges)
{
    const Encoding encoding = tokenizer_->encode("Once upon", true);
    EXPECT_EQ(encoding.ranges[0].end, 0u);
    EXPECT_EQ(encoding.ranges[1].begin, 0u);
    EXPECT_EQ(encoding.ranges.back().end, 9u);
}

TEST_F(Stories, HasNoChatTemplate)
{
    EXPECT_THAT(
        [&] {
            tokenizer_->apply_chat_template({{"user", "Hi"}});
        },
        ThrowsMessage<Error>(HasSubstr("no chat template")));
}

TEST(TokenizerFolder, WithoutAKnownFileIsNamed)
{
    EXPECT_THAT([] { read_tokenizer(testing::TempDir() + "nowhere"); },
        ThrowsMessage<Error>(HasSubstr("nowhere: no tokenizer")));
}

} // namespace
} // namespace lava
