#include "base/error.h"
#include "capture/prompts.h"
#include "model/chat_template.h"
#include "tests/capture/byte_tokenizer.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// A token per byte, and a chat template of one's own.
class TemplateTokenizer : public ByteTokenizer
{
public:
    explicit TemplateTokenizer(const std::string& jinja)
        : template_(jinja, "test.jinja", {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
    { }
    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override
    {
        return template_.apply(messages);
    }

private:
    ChatTemplate template_;
};

/// The tokens of text[begin, end), and in brackets what lies right around them.
std::string marked(const std::string& jinja, const std::string& text, std::int64_t begin, std::int64_t end)
{
    const TemplateTokenizer tokenizer("{% set text = messages[0].content %}" + jinja);
    const Prompt prompt = build_prompt(&tokenizer, {.source = text, .chat = true, .spans = {{"s", begin, end}}});
    std::string all;
    for (std::size_t i = 0; i < prompt.texts.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        all += at == prompt.spans[0].begin ? "[" : "";
        all += at == prompt.spans[0].end ? "]" : "";
        all += prompt.texts[i];
    }
    return all + (prompt.spans[0].end == std::ssize(prompt.texts) ? "]" : "");
}

void expect_refused(const std::string& jinja, const std::string& text, std::int64_t begin, std::int64_t end)
{
    EXPECT_THAT([&] { marked(jinja, text, begin, end); },
        ThrowsMessage<Error>(HasSubstr("span s: expected its text as it is, and once, in what the chat template")))
        << jinja << " of " << text;
}

TEST(ChatSpans, StandWhereTheTemplatePutsTheText)
{
    EXPECT_EQ(marked("<u>{{ text }}</u>", "is 4172.", 3, 7), "<u>is [4172].</u>");
    EXPECT_EQ(marked("<u>{{ text }}</u>", "is 4172.", 0, 8), "<u>[is 4172.]</u>");
    EXPECT_EQ(marked("<u>{{ text }}", "\u00e9 \u4f60\u597d", 2, 4), "<u>\u00e9 [\u4f60\u597d]");
    EXPECT_EQ(marked("<u>{{ text }}", "a  b", 1, 3), "<u>a[  ]b");
}

TEST(ChatSpans, FollowATextThatIsTrimmed)
{
    EXPECT_EQ(marked("<u>{{ text | trim }}</u>", "\n\n  is 4172.\n", 7, 11), "<u>is [4172].</u>");
    EXPECT_EQ(marked("<u>{{ text.lstrip() }}</u>", "\n\n4172\n", 2, 6), "<u>[4172]\n</u>");
    EXPECT_EQ(marked("<u>{{ text.rstrip() }}</u>", " 4172 \n", 1, 5), "<u> [4172]</u>");
}

TEST(ChatSpans, LeaveOutTheSpaceThatIsTrimmedOffTheirEnds)
{
    EXPECT_EQ(marked("<u>\n{{ text | trim }}\n</u>", "\n\n  a 4172.\n", 0, 12), "<u>\n[a 4172.]\n</u>");
    EXPECT_EQ(marked("<u> {{ text.lstrip() }}</u>", " a \n", 0, 4), "<u> [a \n]</u>");
    expect_refused("<u>\n{{ text | trim }}\n</u>", "\n\n4172\n", 0, 2);
    expect_refused("<u>\n{{ text | trim }}\n</u>", "\n\n4172\n", 6, 7);
}

TEST(ChatSpans, FollowATextThatIsReplacedOrCutElsewhere)
{
    EXPECT_EQ(marked("<u>{{ text.replace('\\n', '  ') }}", "a\nb\n4172", 4, 8), "<u>a  b  [4172]");
    EXPECT_EQ(marked("{{ text.split('</think>')[-1] }}", "a 12</think> b 12", 15, 17), " b [12]");
    EXPECT_EQ(marked("{{ text | length }}:{{ text }}", "5 5 5", 4, 5), "5:5 5 [5]");
    EXPECT_EQ(marked("{{ text | length }}:{{ text }}", "0123456789 11", 11, 13), "13:0123456789 [11]");
    EXPECT_EQ(marked("{{ text | upper }}", "code 4172", 5, 9), "CODE [4172]");
    EXPECT_EQ(marked("{{ text[4:] }}", "4172 4172", 5, 9), " [4172]");
}

TEST(ChatSpans, ThatTheTemplateChangesAreRefused)
{
    expect_refused("{{ text | upper }}", "code 4172", 0, 9);
    expect_refused("{{ text.replace('\\n', ' ') }}", "a\nb", 0, 3);
    expect_refused("{{ text.replace('4172', '****') }}", "is 4172.", 3, 7);
    expect_refused("{{ text[::-1] }}", "is 4172.", 3, 7);
    expect_refused("{{ text | tojson }}", "say \"no\"", 4, 8);
}

TEST(ChatSpans, ThatTheTemplateLeavesOutAreRefused)
{
    expect_refused("{{ text.split('</think>')[-1] }}", "4172</think> b 4172", 0, 4);
    expect_refused("{{ text.split('</think>')[-1] }}", "a</think> b", 0, 11);
    expect_refused("user: {{ text[:3] }}", "is 4172 user", 8, 12);
    expect_refused("4172", "is 4172.", 3, 7);
}

TEST(ChatSpans, OfATextThatIsRepeatedAreRefused)
{
    expect_refused("{{ text }} {{ text }}", "is 4172.", 3, 7);
    expect_refused("{{ text | lower }} {{ text }}", "is 4172.", 3, 7);
}

TEST(ChatSpans, AreNotTakenForTheSameWordsElsewhere)
{
    EXPECT_EQ(marked("the user says: {{ text | trim }}", " the user ", 1, 9), "the user says: [the user]");
    EXPECT_EQ(marked("<u>{{ text }}</u>", "</u><u>12</u> 12", 14, 16), "<u></u><u>12</u> [12]</u>");
    EXPECT_EQ(marked("<u>{{ text }}</u>", "\ue000 12 \ue000", 2, 4), "<u>\ue000 [12] \ue000</u>");
}

TEST(ChatSpans, OfTheLlamaTemplatesHoldTheirText)
{
    const std::string text = "\n\n     The sky is green today. The code is 4172.\nWhat is the code?\n";
    for (const char* name : {"llama2", "llama3", "llama3.2", "mistral", "phi3", "qwen3", "smollm3", "tinyllama"}) {
        const auto file
            = std::filesystem::path(LAVA_SOURCE_DIR) / "tests/data/templates" / (name + std::string(".jinja"));
        const std::string all = marked(file_bytes(file), text, 43, 47);
        EXPECT_THAT(all, HasSubstr("The code is [4172].\nWhat")) << name;
    }
}

} // namespace
} // namespace lava
