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

void expect_template_refused(const std::string& jinja, const std::string& message)
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
    expect_template_refused("a\n\n{% include 'x' %}", "line 3: {% include %} is not supported");
    expect_template_refused("{{ 1 }}\n{{ 'x' | wordwrap }}", "line 2: the filter 'wordwrap' is not supported");
    expect_template_refused("\n{{ 'x' is filter }}", "line 2: the test 'filter' is not supported");
    expect_template_refused("\n{{ 'x'.encode() }}", "line 2: the method 'encode' of a string is not supported");
    expect_template_refused("{% for x in y recursive %}{% endfor %}", "line 1: a recursive loop is not supported");
    expect_template_refused("{% if 1 %}\n\n", "line 2: expected {% endif %}, found the end of the template");
    expect_template_refused("\n{{ 'x }}", "line 2: a string without an end");
    expect_template_refused("\n{{ nothing.member }}", "line 2: 'nothing' is undefined, and so has no 'member'");
    expect_template_refused(
        "\n{{ raise_exception('Roles!') }}", "line 2: the template refuses the conversation: Roles!");
    expect_template_refused("\xff", "the text is not valid UTF-8 at byte 0");
}

TEST(ChatTemplates, MayHoldWhatIsNotSupportedInABranchThatIsNotReached)
{
    for (const char* unsupported : {"{% include 'x' ignore missing %}", "{% import 'x' as y %}",
             "{% from 'x' import y %}", "{% extends 'x' %}", "{% with a = 1 %}{{ a }}{% endwith %}",
             "{% filter upper %}x{% endfilter %}", "{% call(a) f(1) %}x{% if a %}y{% endif %}{% endcall %}",
             "{% block a %}x{% endblock a %}", "{% autoescape true %}{% endautoescape %}",
             "{% for x in [1] recursive %}{{ loop(x) }}{% else %}{% endfor %}", "{% set a | upper %}x{% endset %}",
             "{{ 1 < 2 < 3 }}", "{{ f(*a, **b) }}", "{{ 2 ** 3 }}", "{{ 'x' | wordwrap }}", "{{ 'x' is filter }}"}) {
        EXPECT_EQ(render(std::string("a{% if tools %}") + unsupported + "{% else %}b{% endif %}c"), "abc")
            << unsupported;
        expect_template_refused(std::string("\n") + unsupported, "line 2: ");
    }
    expect_template_refused("{{ 1 < 2 < 3 }}", "line 1: a chain of comparisons is not supported");
    expect_template_refused("{{ 2 ** 3 }}", "line 1: '**' is not supported");
    expect_template_refused("{% block a %}{% endblock %}", "line 1: {% block %} is not supported");
    expect_template_refused("{% set a | upper %}x{% endset %}", "line 1: {% set %} with a filter is not supported");
}

TEST(ChatTemplates, ThatAreMalformedAreRefusedWhateverBranchTheyTake)
{
    for (const char* malformed :
        {"{% do x.append(1) %}", "{% endfor %}", "{{ 1 + }}", "{{ f( }}", "{% for x y %}{% endfor %}",
            "{% with a = 1 %}", "{% break %}", "{% include 'x'", "{% raw %}", "{% import 'a' %}", "{% from 'a' %}",
            "{% call f %}{% endcall %}", "{% with a %}{% endwith %}", "{% block %}{% endblock %}",
            "{% block a %}{% endblock b %}", "{% extends %}", "{{ 0x }}", "{% set a | %}{% endset %}", "{{ 1 < }}"}) {
        EXPECT_THROW(render(std::string("a{% if tools %}") + malformed + "{% endif %}"), Error) << malformed;
    }
}

TEST(ChatTemplates, ReadTheRarerSpellingsToo)
{
    EXPECT_EQ(render("{{ messages.0.role }}{{ 0x1F }} {{ 0b11 + 0o17 }}{{ '\\101\\0' == 'A\\x00' }}"), "user31 18True");
    EXPECT_EQ(render("{% for a in 1, 2 %}{% print a, 3 %}{% endfor %}"), "1323");
}

TEST(ChatTemplates, LeaveRawTextAsItIs)
{
    EXPECT_EQ(render("a {% raw %}{{ x }} {% if %}{% endraw %} b"), "a {{ x }} {% if %} b");
    EXPECT_EQ(render("a\n  {% raw %}\n {# b #}\n  {% endraw %}\nc"), "a\n\n {# b #}\nc");
    EXPECT_EQ(render("a {%- raw -%} {{ \n{%- endraw -%} b"), "a{{b");
    expect_template_refused("{% raw %}\n{{", "line 1: expected {% endraw %}, found the end of the template");
}

TEST(ChatTemplates, ThatDoNotEndAreRefused)
{
    expect_template_refused(
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "line 1: the template does not come to an end");
    expect_template_refused(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "line 1: ");
    expect_template_refused("{{ 'x' * 999999999 }}", "line 1: a text repeated too often");
    expect_template_refused(
        "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", "line 1: nested more than 200 deep");
    expect_template_refused("{{ 1" + std::string(5000, '+') + "1 }}", "line 1: nested more than 200 deep");
    std::string sum = "{{ 1";
    for (int i = 0; i < 5000; ++i) {
        sum += "+1";
    }
    expect_template_refused(sum + " }}", "line 1: an expression nested more than 300 deep");
    expect_template_refused("{% set ns = namespace(x=1) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "line 1: lists and dicts nested more than 200 deep");
    expect_template_refused("{% set ns = namespace() %}{% set ns.x = [ns] %}", "line 1: a namespace in a namespace");
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
