#include "base/error.h"
#include "model/tokenizers/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Texts = std::vector<std::string>;

/// What is matched; the expectations below are those of tokenizers 0.22.2.
Texts matches(const std::string& pattern, const std::string& text)
{
    Texts result;
    for (const ByteRange& range : Pattern(pattern, "test").find_all(text)) {
        if (range.begin < range.end) {
            result.push_back(text.substr(range.begin, range.end - range.begin));
        }
    }
    return result;
}

void expect_pattern_refused(const std::string& pattern, const std::string& message)
{
    EXPECT_THAT([&] { Pattern(pattern, "test"); }, ThrowsMessage<Error>(HasSubstr("test: " + message))) << pattern;
}

TEST(Patterns, RepeatAsOftenAsRubySays)
{
    EXPECT_EQ(matches("a{,2}", "aaa"), (Texts{"aa", "a"}));
    EXPECT_EQ(matches("a{,2}?b", "aab"), (Texts{"aab"}));
    EXPECT_EQ(matches("a{,}", "aa{,}"), (Texts{"a{,}"}));
    EXPECT_EQ(matches("a{ 2}", "aa a{ 2}"), (Texts{"a{ 2}"}));
    EXPECT_EQ(matches("a{2}?", "aaaaa"), (Texts{"aa", "aa"}));
    EXPECT_EQ(matches("a{2}?b", "aab b"), (Texts{"aab", "b"}));
    EXPECT_EQ(matches("a{2}??b", "aab b"), (Texts{"aab", "b"}));
    EXPECT_EQ(matches("\\p{L}{1}?b", "ab b"), (Texts{"ab", "b"}));
    EXPECT_EQ(matches("(?:a|[bc])x{2}?", "axxb"), (Texts{"axx", "b"}));
    EXPECT_EQ(matches("(?:a(b)){2}?c", "ababc c"), (Texts{"ababc", "c"}));
    EXPECT_EQ(matches("a{2,}?", "aaaaa"), (Texts{"aa", "aa"}));
    EXPECT_EQ(matches("a{1,2}?", "aaa"), (Texts{"a", "a", "a"}));
    EXPECT_EQ(matches("a++b|a?+a", "aab aa"), (Texts{"aab", "aa"}));
}

TEST(Patterns, GiveAnOptionToAllThatFollowsInItsGroup)
{
    EXPECT_EQ(matches("b(?i)a|a", "ba bA a A B"), (Texts{"ba", "bA"}));
    EXPECT_EQ(matches("(?i)b|c", "b B c C"), (Texts{"b", "B", "c", "C"}));
    EXPECT_EQ(matches("(?:(?i)b|c)d", "BdCDCd"), (Texts{"Bd", "Cd"}));
    EXPECT_EQ(matches("a(?i)b(?-i)c", "aBc aBC ABc"), (Texts{"aBc"}));
}

TEST(Patterns, TakeCharactersForWhatRubyTakesThem)
{
    EXPECT_EQ(matches("\\v+", "\v\n\f\u2028"), (Texts{"\v"}));
    EXPECT_EQ(matches("[\\v]", "\v\n"), (Texts{"\v"}));
    EXPECT_EQ(matches("\\x4a\\x{4f60}", "J\u4f60"), (Texts{"J\u4f60"}));
    EXPECT_EQ(matches("[\\w]+", "a\u00bd\u00b2_"), (Texts{"a", "_"}));
    EXPECT_EQ(matches("\\w+", "a\u00bd\u00b2_"), (Texts{"a\u00bd\u00b2_"}));
    EXPECT_EQ(matches("\\p{Yi}", "\ua000\u3001"), (Texts{"\ua000"})); // a script, not with its extensions
    EXPECT_EQ(matches("\\p{lu}+", "aBC"), (Texts{"BC"}));
    EXPECT_EQ(matches("^b$", "a\nb\n"), (Texts{"b"}));
    EXPECT_EQ(matches(".+", "a\r\nb"), (Texts{"a\r", "b"}));
}

TEST(Patterns, WhereCaseIsIgnoredAgreeOrAreRefused)
{
    EXPECT_EQ(matches("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'S 'Re 'LL '\u017f"), (Texts{"'S", "'Re", "'LL", "'\u017f"}));
    EXPECT_EQ(matches("(?i)\\p{Lu}", "aA"), (Texts{"A"}));
    EXPECT_EQ(matches("(?i)[k\\p{N}]", "\u212a1"), (Texts{"\u212a", "1"}));
    for (const char* pattern : {"(?i:ss)", "(?i:ST)", "(?i)of|f\\x66", "(?i:s{1}s)", "(?i:\u00df)", "(?i)[\u00df]",
             "(?i)[\u00c0-\u00ff]", "(?i:j\u030c)", "(?i:s(?:s))"}) {
        expect_pattern_refused(pattern, "a letter that is several where case is ignored");
    }
    expect_pattern_refused("(?i)[\\p{L}]", "a property of letters in a class where case is ignored");
    expect_pattern_refused("(?i)[\\P{N}]", "a property of letters in a class where case is ignored");
    expect_pattern_refused("(?i)[\\w]", "\\w in a class where case is ignored");
    EXPECT_EQ(matches("(?i:a)ss|\u00df", "Ass \u00df"), (Texts{"Ass", "\u00df"}));
    EXPECT_EQ(matches("(?i:a|s)(?-i:ss)", "Sss"), (Texts{"Sss"}));
}

TEST(Patterns, NameWhatTheyDoNotSupport)
{
    expect_pattern_refused("a{2}+", "}+");
    expect_pattern_refused("a{2}*", "a repetition of a repetition");
    expect_pattern_refused("a+{2}", "a repetition of a repetition");
    expect_pattern_refused("a{2}{3}", "a repetition of a repetition");
    expect_pattern_refused("a{0}", "{0}");
    expect_pattern_refused("{2}a", "a repetition of nothing");
    expect_pattern_refused("(?=a)*", "a repetition of nothing");
    expect_pattern_refused("^*", "a repetition of nothing");
    expect_pattern_refused("a)", "a ) without its (");
    expect_pattern_refused("((?i)a", "the pattern does not compile");
    expect_pattern_refused("\\xe9", "\\x beyond 7f without braces");
    expect_pattern_refused("\\x{41 42}", "\\x{ without a number and }");
    for (const char* pattern :
        {"\\h", "\\H", "\\R", "\\X", "\\K", "\\b", "\\G", "\\N", "\\O", "\\1", "\\g", "\\u0041"}) {
        expect_pattern_refused(pattern, std::string(pattern).substr(0, 2));
    }
    expect_pattern_refused("[a[bc]]", "a class inside a class");
    expect_pattern_refused("[[:alpha:]]", "a class inside a class");
    expect_pattern_refused("[]a]", "an empty class");
    expect_pattern_refused("[a&&b]", "&&");
    expect_pattern_refused("[^\\W]", "\\W inside a class");
    expect_pattern_refused("[\\Z]", "\\Z inside a class");
    expect_pattern_refused("(?m:.)", "(?m:");
    expect_pattern_refused("(?x)a b", "(?x)");
    expect_pattern_refused("(?~a)", "(?~a");
}

} // namespace
} // namespace lava
