#include "capture/synthetic_tasks.h"

#include "base/error.h"

#include <gmock/gmock.h>

#include <map>
#include <sstream>

namespace lava {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Counts words instead of tokens.
std::int64_t word_count(const TaskPrompt& task)
{
    std::istringstream text(task.prompt + " " + task.answer_prefix + " " + task.reference);
    return std::distance(std::istream_iterator<std::string>(text), {});
}

TaskRequest request(const std::string& task, std::int64_t sample = 0)
{
    TaskRequest result;
    result.task = task;
    result.sample = sample;
    result.tokens = 600;
    result.book
        = "It was  late.\nNobody came; the fire went out. \"Who is there?\" he asked. The caf\xc3\xa9 was shut.";
    result.count = word_count;
    return result;
}

std::string text_of(const TaskPrompt& task, const TextSpan& span)
{
    std::vector<std::size_t> starts; // of every character
    for (std::size_t i = 0; i < task.prompt.size(); ++i) {
        if ((static_cast<unsigned char>(task.prompt[i]) & 0xc0) != 0x80) {
            starts.push_back(i);
        }
    }
    starts.push_back(task.prompt.size());
    const auto begin = starts.at(static_cast<std::size_t>(span.begin));
    return task.prompt.substr(begin, starts.at(static_cast<std::size_t>(span.end)) - begin);
}

TEST(SyntheticTasks, FillTheLengthAndMarkWhatMatters)
{
    for (const auto& info : synthetic_tasks()) {
        const auto task = make_task(request(std::string(info.name)));
        EXPECT_LE(word_count(task), 600) << info.name;
        EXPECT_GT(word_count(task), 540) << info.name;
        ASSERT_FALSE(task.spans.empty()) << info.name;
        EXPECT_EQ(task.spans.back().name, "question");
        EXPECT_TRUE(task.prompt.ends_with(text_of(task, task.spans.back()))) << info.name;
        EXPECT_EQ(task.reference.front(), ' ');
    }
}

TEST(SyntheticTasks, TheNeedleHoldsTheAnswer)
{
    for (const auto* name : {"needle-noise", "needle-book", "needle-keys", "needle-queries"}) {
        const auto task = make_task(request(name, 3));
        const auto span = std::find_if(
            task.spans.begin(), task.spans.end(), [](const TextSpan& candidate) { return candidate.name == "needle"; });
        ASSERT_NE(span, task.spans.end()) << name;
        const auto needle = text_of(task, *span);
        const auto number = needle.substr(needle.rfind(' ')); // " 12345."
        ASSERT_EQ(number.size(), 7U) << needle;
        EXPECT_THAT(task.reference, HasSubstr(number.substr(0, 6))) << name;
        const auto place = needle.rfind(" of ");
        EXPECT_THAT(task.answer_prefix, HasSubstr(needle.substr(place, needle.find(" is:") - place))) << name;
    }
}

TEST(SyntheticTasks, VariablesAreAChainInTheTextsOrder)
{
    const auto task = make_task(request("variables"));
    ASSERT_EQ(task.spans.size(), 5U);
    std::string last;
    std::int64_t end = 0;
    std::vector<TextSpan> in_order(task.spans.begin(), task.spans.end() - 1);
    std::sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    for (const auto& span : in_order) {
        const auto text = text_of(task, span); // VAR VXY = 12345. or VAR VXY = VAR VAB.
        EXPECT_THAT(task.reference, HasSubstr(text.substr(4, 3)));
        EXPECT_TRUE(last.empty() || text.ends_with("VAR " + last + ".")) << text;
        EXPECT_GT(span.begin, end);
        last = text.substr(4, 3);
        end = span.end;
    }
}

TEST(SyntheticTasks, CommonWordsAreTheMostCommon)
{
    const auto task = make_task(request("common-words"));
    std::map<std::string, int> counts;
    std::istringstream list(task.prompt.substr(0, task.prompt.rfind('\n')));
    for (std::string word; list >> word;) {
        ++counts[word];
    }
    std::multimap<int, std::string, std::greater<>> by_count;
    for (const auto& [word, count] : counts) {
        by_count.emplace(count, word);
    }
    auto next = by_count.begin();
    for (int i = 0; i < 3; ++i, ++next) {
        EXPECT_THAT(task.reference, HasSubstr(next->second));
        EXPECT_GT(next->first, 4 * std::next(by_count.begin(), 3)->first);
    }
}

TEST(SyntheticTasks, DependOnSeedAndSampleAlone)
{
    const auto task = make_task(request("needle-book"));
    EXPECT_EQ(task.prompt, make_task(request("needle-book")).prompt);
    EXPECT_NE(task.prompt, make_task(request("needle-book", 1)).prompt);
    auto other = request("needle-book");
    other.seed = 1;
    EXPECT_NE(task.prompt, make_task(other).prompt);
}

TEST(SyntheticTasks, RefuseWhatCannotBeMade)
{
    EXPECT_THAT([] { make_task(request("needle-hay")); },
        ThrowsMessage<UsageError>(HasSubstr("unknown task 'needle-hay'; known: needle-noise")));
    EXPECT_THAT(
        [] {
            auto short_request = request("needle-book");
            short_request.tokens = 20;
            make_task(short_request);
        },
        ThrowsMessage<Error>(HasSubstr("needle-book: expected room for at least one sentence")));
    EXPECT_THAT(
        [] {
            auto without_book = request("needle-keys");
            without_book.book.clear();
            make_task(without_book);
        },
        ThrowsMessage<Error>(HasSubstr("expected a book")));
}

} // namespace
} // namespace lava
