#include "base/formatted.h"

#include <gmock/gmock.h>

#include <limits>

namespace lava {
namespace {

using ::testing::Eq;

TEST(Formatted, ShowsNumbersAsTheStandardLibraryDoes)
{
    constexpr auto least = std::numeric_limits<std::int64_t>::min();
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    EXPECT_THAT(formatted("{} to {}", least, most), Eq(std::to_string(least) + " to " + std::to_string(most)));
    EXPECT_THAT(formatted("{:f}, {:f}", 1e21, -0.1F), Eq(std::to_string(1e21) + ", " + std::to_string(-0.1F)));
    EXPECT_THAT(
        formatted("{:f} {:f}", std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()),
        Eq("nan inf"));
}

TEST(Formatted, ShowsTextsAsTheyAre)
{
    const std::string text("a\0{}\xff", 5);
    EXPECT_THAT(formatted("'{}' {}{}", text, std::string_view("b"), 'c'), Eq("'" + text + "' bc"));
}

TEST(Formatted, DoublesBracesThatAreMeant)
{
    EXPECT_THAT(formatted("{{{}}} of {{}}", 7), Eq("{7} of {}"));
}

} // namespace
} // namespace lava
