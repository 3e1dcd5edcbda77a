#include "base/distinct.h"
#include "base/sizes.h"
#include "base/text.h"

#include <gmock/gmock.h>

namespace lava {
namespace {

using ::testing::ElementsAre;

TEST(Distinct, KeepsEachValueOnceInOrderOfAppearance)
{
    Distinct<std::string> words;
    std::vector<std::size_t> places;
    for (const auto* word : {"b", "a", "b", "c", "a"}) {
        places.push_back(words.add(word));
    }
    EXPECT_THAT(places, ElementsAre(0, 1, 0, 2, 1));
    EXPECT_THAT(words.values(), ElementsAre("b", "a", "c"));
}

TEST(Text, JoinsWordsAndShapes)
{
    EXPECT_EQ(joined({}), "");
    EXPECT_EQ(joined({"a", "b", "c"}), "a, b, c");
    EXPECT_EQ(joined({"48", "100"}, ","), "48,100");
    EXPECT_EQ(joined({"", "100"}, ","), "100");
    EXPECT_EQ(shape_text(std::vector<std::int64_t>{8, -1, 128}), "[8, any, 128]");
    EXPECT_EQ(shape_text({}), "[]");
}

TEST(Sizes, RoundUp)
{
    EXPECT_EQ(ceil_divide(0, 4), 0);
    EXPECT_EQ(ceil_divide(8, 4), 2);
    EXPECT_EQ(ceil_divide(9, 4), 3);
    EXPECT_EQ(rounded_up(9, 4), 12);
    EXPECT_EQ(rounded_up(12, 4), 12);
}

} // namespace
} // namespace lava
