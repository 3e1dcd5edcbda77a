#include "capture/prompts.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Ids = std::vector<std::int64_t>;

/// A token per byte, special tokens 256 (BOS), and <user>...</user> as its chat template.
class ByteTokenizer : public Tokenizer
{
public:
    Encoding encode(std::string_view text, bool add_special_tokens) const override
    {
        Encoding encoding;
        if (add_special_tokens) {
            encoding.ids.push_back(256);
            encoding.ranges.push_back({0, 0});
        }
        for (std::size_t i = 0; i < text.size(); ++i) {
            encoding.ids.push_back(static_cast<unsigned char>(text[i]));
            encoding.ranges.push_back({i, i + 1});
        }
        return encoding;
    }
    std::string token_bytes(std::int64_t id) const override
    {
        return id == 256 ? std::string("<s>") : std::string(1, static_cast<char>(id));
    }
    std::string decode(const std::vector<std::int64_t>& ids) const override
    {
        std::string text;
        for (const std::int64_t id : ids) {
            text += id == 256 ? "" : token_bytes(id);
        }
        return text;
    }
    std::int64_t vocab_size() const override { return 257; }
    bool has_chat_template() const override { return true; }
    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override
    {
        return "<user>" + messages.front().content + "</user>";
    }
};

const ByteTokenizer tokenizer;

std::string span_text(const Prompt& prompt, std::size_t span)
{
    std::string text;
    for (std::int64_t i = prompt.spans[span].begin; i < prompt.spans[span].end; ++i) {
        text += prompt.texts[static_cast<std::size_t>(i)];
    }
    return text;
}

class PromptFiles : public testing::Test
{
protected:
    std::filesystem::path write(const std::string& text) const
    {
        std::ofstream(file_, std::ios::binary) << text;
        return file_;
    }
    void TearDown() override { std::filesystem::remove(file_); }

    std::filesystem::path file_ = std::filesystem::path(testing::TempDir())
        / ("lava_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

TEST(Prompt, OfTextBeginsWithTheModelsOwnToken)
{
    const Prompt prompt = build_prompt(&tokenizer, {.source = "ab"});
    EXPECT_EQ(prompt.ids, (Ids{256, 'a', 'b'}));
    EXPECT_EQ(prompt.texts, (std::vector<std::string>{"<s>", "a", "b"}));
}

TEST(Prompt, ThatBeginsWithThatTokenTwiceIsNoted)
{
    const auto note = [](const std::vector<std::int64_t>& ids) {
        testing::internal::CaptureStderr();
        build_prompt(&tokenizer, {.source = ids});
        return testing::internal::GetCapturedStderr();
    };
    EXPECT_THAT(note({256, 256, 'a'}), HasSubstr("the prompt begins with <s> twice"));
    EXPECT_EQ(note({256, 'a', 'a'}), "");
    EXPECT_EQ(note({'a', 'a'}), "");
}

TEST(Prompt, SpansCountCharactersAndHoldEveryTokenTheyOverlap)
{
    // é is two bytes and thus two tokens here, one character
    const Prompt prompt = build_prompt(&tokenizer, {.source = "x\u00e9yz", .spans = {{"e", 1, 2}, {"all", 0, 4}}});
    EXPECT_EQ(prompt.spans, (std::vector<Span>{{"e", 2, 4}, {"all", 1, 6}}));
    EXPECT_EQ(span_text(prompt, 0), "\u00e9");
}

TEST(Prompt, SpansOfAChatAreThoseOfTheUsersText)
{
    const Prompt prompt
        = build_prompt(&tokenizer, {.source = "hello", .chat = true, .spans = {{"whole", 0, 5}, {"o", 4, 5}}});
    EXPECT_EQ(tokenizer.decode(prompt.ids), "<user>hello</user>");
    EXPECT_EQ(span_text(prompt, 0), "hello");
    EXPECT_EQ(span_text(prompt, 1), "o");
}

TEST(Prompt, SpanOutsideTheTextIsAnError)
{
    for (const auto& [begin, end] : {std::pair{0, 4}, {-1, 2}, {2, 2}, {2, 1}}) {
        EXPECT_THAT(([&, first = begin, last = end] {
            build_prompt(&tokenizer, {.source = "abc", .spans = {{"s", first, last}}});
        }),
            ThrowsMessage<Error>(HasSubstr("span s: expected 0 <= begin < end <= 3 characters")));
    }
}

TEST(Prompt, AnswerPrefixIsAppendedToIdsAndTextAlike)
{
    EXPECT_EQ(build_prompt(&tokenizer, {.source = Ids{65}, .answer_prefix = "bc"}).ids, (Ids{65, 'b', 'c'}));
    EXPECT_EQ(build_prompt(&tokenizer, {.source = "a", .answer_prefix = "b"}).ids, (Ids{256, 'a', 'b'}));
}

TEST(Prompt, PlantedNeedleGivesItsSpansAndIsRemembered)
{
    NeedleRequest needle;
    needle.haystack = "First. Second. Third.";
    needle.needle = "Needle!";
    needle.question = "What?";
    needle.tokens = 60;
    const Prompt prompt = build_prompt(&tokenizer, {.source = needle, .chat = true, .answer_prefix = "A"});
    EXPECT_EQ(tokenizer.decode(prompt.ids), "<user>First. Second. Needle! Third.\n\nWhat?</user>A");
    ASSERT_EQ(prompt.spans.size(), 3u);
    EXPECT_EQ(prompt.spans[0].name, "haystack");
    EXPECT_EQ(span_text(prompt, 0), "First. Second. Needle! Third.");
    EXPECT_EQ(prompt.spans[1].name, "needle");
    EXPECT_EQ(span_text(prompt, 1), "Needle!");
    EXPECT_EQ(prompt.spans[2].name, "question");
    EXPECT_EQ(span_text(prompt, 2), "What?");
    const auto json = nlohmann::json::parse(prompt.tokenization);
    EXPECT_EQ(json["haystack"]["needle"], "Needle!");
    EXPECT_EQ(json["answer_prefix"], "A");
    EXPECT_EQ(json["chat"], true);
}

TEST(Prompt, OfIdsNeedsNoTokenizer)
{
    const Prompt prompt = build_prompt(nullptr, {.source = Ids{3, 1, 2}});
    EXPECT_EQ(prompt.ids, (Ids{3, 1, 2}));
    EXPECT_TRUE(prompt.texts.empty());
}

TEST(Prompt, WithoutTextIsAnError)
{
    EXPECT_THAT([] { build_prompt(&tokenizer, {.source = ""}); }, ThrowsMessage<Error>("the prompt is empty"));
}

TEST_F(PromptFiles, IdsAreIntegersThatFit)
{
    EXPECT_EQ(read_ids(write("[1, 2, 511]")), (Ids{1, 2, 511}));
    EXPECT_THAT([&] { read_ids(write("[1, -2]")); },
        ThrowsMessage<Error>(HasSubstr("element 1: expected a token id, found -2")));
    EXPECT_THAT([&] { read_ids(write("[1.5]")); }, ThrowsMessage<Error>(HasSubstr("found 1.5")));
    EXPECT_THAT([&] { read_ids(write("[99999999999]")); }, ThrowsMessage<Error>(HasSubstr("found 99999999999")));
    EXPECT_THAT([&] { read_ids(write("[18446744073709551615]")); },
        ThrowsMessage<Error>(HasSubstr("found 18446744073709551615")));
    EXPECT_THAT([&] { read_ids(write("[]")); }, ThrowsMessage<Error>(HasSubstr("found an empty one")));
    EXPECT_THAT([&] { read_ids(write("{}")); }, ThrowsMessage<Error>(HasSubstr("found object")));
    EXPECT_THAT([&] { read_ids(write("1, 2")); }, ThrowsMessage<Error>(HasSubstr("expected JSON")));
}

TEST_F(PromptFiles, SpansAreNamedOnce)
{
    const auto spans = read_spans(write(R"([{"name": "a", "begin": 0, "end": 3}])"));
    EXPECT_EQ(spans.size(), 1u);
    EXPECT_EQ(spans[0].end, 3);
    EXPECT_THAT(
        [&] { read_spans(write(R"([{"name": "a", "begin": 0}])")); }, ThrowsMessage<Error>(HasSubstr("expected [{")));
    EXPECT_THAT(
        [&] { read_spans(write(R"([{"name": "a", "begin": 0, "end": 1}, {"name": "a", "begin": 1, "end": 2}])")); },
        ThrowsMessage<Error>(HasSubstr("span a is given twice")));
    EXPECT_THAT([&] { read_spans(write("7")); }, ThrowsMessage<Error>(HasSubstr("found number")));
}

TEST_F(PromptFiles, TextMustBeUtf8)
{
    EXPECT_EQ(read_text(write("caf\u00e9")), "caf\u00e9");
    EXPECT_THAT([&] { read_text(write("caf\xe9 ")); },
        ThrowsMessage<Error>(testing::AllOf(HasSubstr("TextMustBeUtf8"), HasSubstr("not valid UTF-8 at byte 3"))));
    EXPECT_THAT([&] { read_text(write("")); }, ThrowsMessage<Error>(HasSubstr("is empty")));
    EXPECT_THAT([] { read_text("/nowhere/p.txt"); }, ThrowsMessage<Error>("/nowhere/p.txt: cannot be read"));
}

} // namespace
} // namespace lava
