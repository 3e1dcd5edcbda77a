#include "capture/haystack.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// A token per word, for counting by eye.
std::int64_t words(std::string_view text)
{
    std::int64_t count = 0;
    bool inside = false;
    for (const char c : text) {
        const bool space = c == ' ' || c == '\n';
        count += !space && !inside ? 1 : 0;
        inside = !space;
    }
    return count;
}

NeedleRequest request(double depth, std::int64_t tokens)
{
    NeedleRequest result;
    result.haystack = "One two three. Four\nfive.\n\n  Six \"seven!\" Eight nine ten? Eleven";
    result.needle = "Needle here.";
    result.question = "Where?";
    result.depth = depth;
    result.tokens = tokens;
    return result;
}

std::string part(const NeedleText& text, ByteRange range)
{
    return text.text.substr(range.begin, range.end - range.begin);
}

TEST(Haystack, SentencesEndAfterPunctuationAndQuotes)
{
    EXPECT_THAT(sentence_ends("Mr. X ran 3.5 miles. \"Yes!\" (Really?) and"), testing::ElementsAre(3, 20, 27, 37));
}

TEST(Haystack, IsCutAtTheLastSentenceThatFits)
{
    const NeedleText text = plant_needle(request(1, 10), words);
    EXPECT_EQ(text.text, "One two three. Four five. Six \"seven!\" Needle here.\n\nWhere?");
}

TEST(Haystack, TakesTheNeedleAtTheSentenceNearestToTheDepth)
{
    EXPECT_EQ(plant_needle(request(0, 8), words).text, "Needle here. One two three. Four five.\n\nWhere?");
    EXPECT_EQ(plant_needle(request(0.6, 8), words).text, "One two three. Needle here. Four five.\n\nWhere?");
    EXPECT_EQ(
        plant_needle(request(0.5, 10), words).text, "One two three. Needle here. Four five. Six \"seven!\"\n\nWhere?");
}

TEST(Haystack, RangesAreThePartsOfTheText)
{
    const NeedleText text = plant_needle(request(0.5, 13), words);
    EXPECT_EQ(part(text, text.needle), "Needle here.");
    EXPECT_EQ(part(text, text.question), "Where?");
    EXPECT_EQ(part(text, text.haystack) + "\n\nWhere?", text.text);
}

TEST(Haystack, WithoutSentencesIsCutAtWords)
{
    NeedleRequest words_only = request(1, 6);
    words_only.haystack = "one two three four five";
    EXPECT_EQ(plant_needle(words_only, words).text, "one two three Needle here.\n\nWhere?");
}

TEST(Haystack, NeverExceedsTheTokensAskedFor)
{
    for (std::int64_t tokens = 6; tokens < 20; ++tokens) {
        for (const double depth : {0.0, 0.3, 0.5, 1.0}) {
            EXPECT_LE(words(plant_needle(request(depth, tokens), words).text), tokens) << depth;
        }
    }
}

TEST(Haystack, WithoutRoomForASentenceIsAnError)
{
    EXPECT_THAT([] { plant_needle(request(0.5, 5), words); },
        ThrowsMessage<Error>(HasSubstr("--tokens 5: expected room for the needle, the question and one sentence of the "
                                       "haystack, which take 6 tokens")));
}

} // namespace
} // namespace lava
