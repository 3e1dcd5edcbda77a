#include "base/error.h"
#include "model/tokenizer.h"
#include "tests/model/llama_cpp_vectors.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sentencepiece_trainer.h>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

const std::filesystem::path source_folder = LAVA_SOURCE_DIR;

class Folder : public testing::Test
{
protected:
    void write(const std::string& name, const std::string& text) const
    {
        std::ofstream(folder_.path() / name, std::ios::binary) << text;
    }
    std::unique_ptr<Tokenizer> read() const { return read_tokenizer(folder_.path()); }

    TemporaryFolder folder_;
};

class LlamaCppVectors : public Folder, public testing::WithParamInterface<const char*>
{ };

TEST_P(LlamaCppVectors, AreReproducedFromTokenizerJson)
{
    write("tokenizer.json", file_bytes(source_folder / "tests/data/tokenizer" / (std::string(GetParam()) + ".json")));
    expect_llama_cpp_ids(*read(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaCppVectors, testing::Values("gpt2", "qwen2", "llama2"));

/// The older pair of files, of one of the vocabularies above.
class VocabAndMerges : public Folder
{
protected:
    void write_vocabulary(const std::string& name) const
    {
        const Json json = Json::parse(file_bytes(source_folder / "tests/data/tokenizer" / (name + ".json")));
        write("vocab.json", json["model"]["vocab"].dump());
        std::string merges = "#version: 0.2\n";
        for (const Json& merge : json["model"]["merges"]) {
            merges += merge.get<std::string>() + "\n";
        }
        write("merges.txt", merges);
    }
};

TEST_F(VocabAndMerges, OfGpt2AreReadByTheModelsType)
{
    write_vocabulary("gpt2");
    write("config.json", R"({"model_type": "gpt2"})");
    expect_llama_cpp_ids(*read(), "gpt2");
}

TEST_F(VocabAndMerges, OfQwen2AreReadByTheTokenizersClass)
{
    write_vocabulary("qwen2");
    const std::int64_t first = std::ssize(Json::parse(file_bytes(folder_ / "vocab.json")));
    const Json start = {{"content", "<|im_start|>"}, {"special", true}};
    const Json config = {{"tokenizer_class", "Qwen2Tokenizer"}, {"add_bos_token", false},
        {"added_tokens_decoder", {{std::to_string(first), start}}}};
    write("tokenizer_config.json", config.dump());
    write("added_tokens.json", Json{{"<|im_start|>", first}, {"<tool_call>", first + 1}}.dump());
    expect_llama_cpp_ids(*read(), "qwen2");
    EXPECT_EQ(read()->encode("<|im_start|><tool_call>", true).ids, (Ids{first, first + 1}));
    EXPECT_EQ(read()->decode({first, first + 1}), "<tool_call>");
    write("added_tokens.json", Json{{"<tool_call>", first + 3}}.dump());
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("'<tool_call>' to have the next free id")));
}

TEST_F(VocabAndMerges, AddWhatTokenizerConfigAsksFor)
{
    write_vocabulary("gpt2");
    const auto ids = [&](const std::string& keys) {
        write("tokenizer_config.json",
            R"({"tokenizer_class": "GPT2Tokenizer", "bos_token": "!", "eos_token": "#")" + keys + "}");
        return read()->encode("", true).ids;
    };
    EXPECT_EQ(ids(""), Ids());
    EXPECT_EQ(ids(R"(, "add_eos_token": false)"), Ids());
    EXPECT_EQ(ids(R"(, "add_bos_token": true)"), (Ids{0}));
    EXPECT_EQ(ids(R"(, "add_bos_token": true, "add_eos_token": true)"), (Ids{0, 2}));
}

TEST_F(VocabAndMerges, OfAClassWhoseSplittingIsNotKnownAreRefused)
{
    write_vocabulary("gpt2");
    write("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})");
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("found 'RobertaTokenizer'")));
}

TEST_F(VocabAndMerges, NameTheLineThatIsNoMerge)
{
    write_vocabulary("gpt2");
    write("merges.txt", "#version: 0.2\na b\nabc\n");
    write("config.json", R"({"model_type": "gpt2"})");
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("merges.txt: line 3: expected two tokens")));
}

TEST_F(Folder, OfATokenizerThatIsLeftToGitLfsIsRefusedAsSuch)
{
    const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2104556\n";
    const auto expect_refused = [&](const std::string& name) {
        write(name, pointer);
        EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr(name + ": a Git LFS pointer")));
    };
    expect_refused("tokenizer.bin");
    expect_refused("tokenizer.model");
    write("merges.txt", "a b\n");
    expect_refused("vocab.json");
    expect_refused("tokenizer.json");
}

/// A SentencePiece model of Llama 2's kind, trained on the small story.
class SentencePieceFile : public Folder
{
protected:
    void SetUp() override
    {
        const std::string prefix = (folder_.path() / "tokenizer").string();
        const auto status = sentencepiece::SentencePieceTrainer::Train(
            "--minloglevel=2 --model_type=bpe --vocab_size=420"
            " --byte_fallback=true --normalization_rule_name=identity --remove_extra_whitespaces=false --num_threads=1"
            " --character_coverage=1.0 --hard_vocab_limit=false --control_symbols=[INST] --model_prefix="
            + prefix + " --input=" + (source_folder / "data/story.txt").string());
        ASSERT_TRUE(status.ok()) << status.ToString();
    }
};

TEST_F(SentencePieceFile, PutsBosInFrontAndBytesForWhatItLacks)
{
    const auto tokenizer = read();
    const Encoding encoding = tokenizer->encode("red \u4f60", true);
    EXPECT_EQ(encoding.ids.front(), 1);
    ASSERT_GE(encoding.ids.size(), 5u);
    EXPECT_EQ(Ids(encoding.ids.end() - 3, encoding.ids.end()), (Ids{4 + 0xe4, 4 + 0xbd, 4 + 0xa0})); // behind [INST]
    EXPECT_EQ(encoding.ranges.back().begin, 6u);
    EXPECT_EQ(encoding.ranges.back().end, 7u);
    EXPECT_EQ(tokenizer->decode(encoding.ids), "red \u4f60");
    EXPECT_EQ(tokenizer->encode("red \u4f60", false).ids, Ids(encoding.ids.begin() + 1, encoding.ids.end()));
}

TEST_F(SentencePieceFile, RangesAreTheBytesOfItsTokens)
{
    const std::string text = "She saw a big  red ball.\n<s>One day\u00e9";
    const auto tokenizer = read();
    const Encoding encoding = tokenizer->encode(text, true);
    std::size_t at = 0;
    for (std::size_t i = 1; i < encoding.ids.size(); ++i) {
        EXPECT_EQ(encoding.ranges[i].begin, at);
        at = encoding.ranges[i].end;
        const std::string bytes = tokenizer->token_bytes(encoding.ids[i]);
        const std::string range = text.substr(encoding.ranges[i].begin, at - encoding.ranges[i].begin);
        EXPECT_EQ(i == 1 ? " " + range : range, bytes);
    }
    EXPECT_EQ(at, text.size());
}

TEST_F(SentencePieceFile, FindsControlAndAddedTokens)
{
    const std::int64_t first = read()->vocab_size();
    const auto decoder = [](std::int64_t id) {
        return Json{{"added_tokens_decoder", {{std::to_string(id), {{"content", "<|user|>"}, {"special", true}}}}}}
            .dump();
    };
    write("tokenizer_config.json", decoder(first));
    const auto tokenizer = read();
    EXPECT_EQ(tokenizer->encode("<s>[INST]</s><|user|>", false).ids, (Ids{1, 3, 2, first}));
    EXPECT_EQ(tokenizer->vocab_size(), first + 1);
    write("tokenizer_config.json", decoder(first + 5));
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("'<|user|>' to have the next free id")));
    write("tokenizer_config.json", R"({"pad_token": "<|pad|>"})");
    EXPECT_EQ(read()->encode("<|pad|>", false).ids, (Ids{first}));
}

TEST_F(SentencePieceFile, BeginsWithASpaceBehindAnAddedTokenOnlyInLegacyBehaviour)
{
    const Ids plain = read()->encode("ball", false).ids;
    const Ids behind = read()->encode("<s>ball", false).ids;
    write("tokenizer_config.json", R"({"legacy": true})");
    const Ids legacy = read()->encode("<s>ball", false).ids;
    EXPECT_EQ(Ids(legacy.begin() + 1, legacy.end()), plain);
    EXPECT_NE(Ids(behind.begin() + 1, behind.end()), plain);
    EXPECT_EQ(read()->decode(behind), "ball");
}

TEST_F(SentencePieceFile, AddsWhatTokenizerConfigAsksFor)
{
    write("tokenizer_config.json",
        R"({"add_bos_token": false, "add_eos_token": true, "eos_token": {"content": "</s>"}})");
    const Ids ids = read()->encode("ball", true).ids;
    EXPECT_NE(ids.front(), 1);
    EXPECT_EQ(ids.back(), 2);
    write("tokenizer_config.json", R"({"add_bos_token": true, "bos_token": "<begin>"})");
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("'<begin>' is not in the vocabulary")));
}

TEST_F(SentencePieceFile, KeepsTheDefaultOfWhatTokenizerConfigDoesNotSpeakOf)
{
    const auto around = [&](const std::string& keys) {
        write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>")" + keys + "}");
        const Ids ids = read()->encode("ball", true).ids;
        return std::pair(ids.front() == 1, ids.back() == 2);
    };
    EXPECT_EQ(around(""), std::pair(true, false));
    EXPECT_EQ(around(R"(, "add_eos_token": false)"), std::pair(true, false));
    EXPECT_EQ(around(R"(, "add_eos_token": true)"), std::pair(true, true));
    EXPECT_EQ(around(R"(, "add_bos_token": true)"), std::pair(true, false));
    EXPECT_EQ(around(R"(, "add_bos_token": false)"), std::pair(false, false));
    EXPECT_EQ(around(R"(, "add_bos_token": false, "add_eos_token": true)"), std::pair(false, true));
    write("tokenizer_config.json", R"({"add_bos_token": true})"); // it has none to name, tokenizer.model has
    EXPECT_EQ(read()->encode("ball", true).ids.front(), 1);
}

TEST_F(SentencePieceFile, ThatIsDamagedIsNamed)
{
    write("tokenizer.model", "not a model");
    EXPECT_THAT([&] { read(); }, ThrowsMessage<Error>(HasSubstr("tokenizer.model: not a SentencePiece model")));
}

TEST_F(SentencePieceFile, AndAddedTokensMustAgree)
{
    write("added_tokens.json", R"({"<pad>": 7})");
    EXPECT_THAT(
        [&] { read(); }, ThrowsMessage<Error>(HasSubstr("the added token '<pad>' has the id 7, which is '<0x")));
}

} // namespace
} // namespace lava
