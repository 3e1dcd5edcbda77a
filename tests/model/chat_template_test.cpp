#include "base/error.h"
#include "model/chat_template.h"
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

const std::filesystem::path templates = std::filesystem::path(LAVA_SOURCE_DIR) / "tests/data/templates";

std::vector<ChatMessage> conversation(const Json& json)
{
    std::vector<ChatMessage> messages;
    for (const Json& message : json) {
        messages.push_back({message.at("role"), message.at("content")});
    }
    return messages;
}

std::string render(const std::string& jinja, const std::vector<ChatMessage>& messages = {{"user", "Hi"}})
{
    return ChatTemplate(jinja, "folder/chat_template.jinja", {{"bos_token", "<s>"}}).apply(messages);
}

void expect_refused(const std::string& jinja, const std::string& message)
{
    EXPECT_THAT([&] { render(jinja); },
        ThrowsMessage<Error>(HasSubstr("folder/chat_template.jinja: chat template: " + message)))
        << jinja;
}

TEST(ChatTemplates, OfTheFamiliesRenderAsInTransformers)
{
    const Json expected = Json::parse(file_bytes(templates / "rendered.json"));
    ASSERT_EQ(expected["rendered"].size(), 10u);
    for (const auto& [name, texts] : expected["rendered"].items()) {
        const ChatTemplate chat_template(file_bytes(templates / (name + ".jinja")), name, expected["special_tokens"]);
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const auto messages = conversation(expected["conversations"][i]);
            if (texts[i].is_null()) { // transformers refuses this conversation too
                EXPECT_THROW(chat_template.apply(messages), Error) << name << ", conversation " << i;
            } else {
                EXPECT_EQ(chat_template.apply(messages), texts[i]) << name << ", conversation " << i;
            }
        }
    }
}

TEST(ChatTemplates, TellTheTimeWhenAsked)
{
    const std::string year = render("{{ strftime_now('%Y') }}");
    EXPECT_EQ(year.size(), 4u);
    EXPECT_GE(year, "2024");
}

TEST(ChatTemplates, TakeTheLineBreakBehindABlockAndTheSpaceBeforeIt)
{
    EXPECT_EQ(render("a\n  {% if true %}\nb\n  {%- endif %}\n c \n"), "a\nb c ");
    EXPECT_EQ(render("  {%+ if true %}x{% endif +%}\n{{ 1 }}\n"), "  x\n1");
}

TEST(ChatTemplates, NameTheLineOfWhatIsNotSupported)
{
    expect_refused("a\n\n{% include 'x' %}", "line 3: {% include %} is not supported");
    expect_refused("{{ 1 }}\n{{ 'x' | wordwrap }}", "line 2: the filter 'wordwrap' is not supported");
    expect_refused("\n{{ 'x' is filter }}", "line 2: the test 'filter' is not supported");
    expect_refused("\n{{ 'x'.encode() }}", "line 2: the method 'encode' of a string is not supported");
    expect_refused("{% for x in y recursive %}{% endfor %}", "line 1: a recursive loop is not supported");
    expect_refused("{% if 1 %}\n\n", "line 2: expected {% endif %}, found the end of the template");
    expect_refused("\n{{ 'x }}", "line 2: a string without an end");
    expect_refused("\n{{ nothing.member }}", "line 2: 'nothing' is undefined, and so has no 'member'");
    expect_refused("\n{{ raise_exception('Roles!') }}", "line 2: the template refuses the conversation: Roles!");
    expect_refused("\xff", "the text is not valid UTF-8 at byte 0");
}

TEST(ChatTemplates, ThatDoNotEndAreRefused)
{
    expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "line 1: the template does not come to an end");
    expect_refused("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "line 1: ");
    expect_refused("{{ 'x' * 999999999 }}", "line 1: a text repeated too often");
    expect_refused(
        "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", "line 1: nested more than 200 deep");
    expect_refused("{{ 1" + std::string(5000, '+') + "1 }}", "line 1: nested more than 200 deep");
    std::string sum = "{{ 1";
    for (int i = 0; i < 5000; ++i) {
        sum += "+1";
    }
    expect_refused(sum + " }}", "line 1: an expression nested more than 300 deep");
    expect_refused("{% set ns = namespace(x=1) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "line 1: lists and dicts nested more than 200 deep");
    expect_refused("{% set ns = namespace() %}{% set ns.x = [ns] %}", "line 1: a namespace in a namespace");
}

TEST(ChatTemplates, AreFoundInTheFolder)
{
    const TemporaryFolder folder;
    EXPECT_TRUE(find_chat_template(folder.path()).jinja.empty());
    std::ofstream(folder / "tokenizer_config.json") << R"({"chat_template": "one"})";
    EXPECT_EQ(find_chat_template(folder.path()).jinja, "one");
    std::ofstream(folder / "tokenizer_config.json")
        << R"({"chat_template": [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "three"}]})";
    EXPECT_EQ(find_chat_template(folder.path()).jinja, "three");
    std::ofstream(folder / "chat_template.jinja") << "four";
    EXPECT_EQ(find_chat_template(folder.path()).jinja, "four");
    EXPECT_EQ(find_chat_template(folder.path()).file, folder / "chat_template.jinja");
}

TEST(ChatTemplates, OfOtherNamesAreNotTakenForTheDefault)
{
    const TemporaryFolder folder;
    std::ofstream(folder / "tokenizer_config.json") << R"({"chat_template": [{"name": "rag", "template": "two"}]})";
    EXPECT_THAT([&] { find_chat_template(folder.path()); },
        ThrowsMessage<Error>(HasSubstr("chat_template: expected a template named default")));
}

} // namespace
} // namespace lava
