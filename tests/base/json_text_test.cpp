#include "base/json_text.h"

#include "base/error.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lava {
namespace {

using testing::ThrowsMessage;

std::string nested(std::size_t levels)
{
    return std::string(levels, '[') + "1" + std::string(levels, ']');
}

TEST(JsonText, IsReadToTwoHundredLevelsAndRefusedBeyond)
{
    EXPECT_TRUE(parse_json(nested(200), "f").is_array());
    for (const std::size_t levels : {201, 200'000}) {
        EXPECT_THAT([&] { parse_json(nested(levels), "f: line 3"); },
            ThrowsMessage<Error>("f: line 3: JSON nested deeper than 200 levels"));
        EXPECT_THROW(parse_json(std::string(levels, '['), "f"), Error);
    }
    std::string objects;
    for (int i = 0; i < 201; ++i)
        objects += "{\"a\": ";
    EXPECT_THROW(parse_json(objects, "f"), Error);
}

TEST(JsonText, CountsNoBracketsOfStringsNorSiblings)
{
    const std::string text = "[\"\\\"" + std::string(300, '[') + "\\\\\", " + nested(1);
    std::string many = text;
    for (int i = 0; i < 300; ++i)
        many += ", [{}]";
    EXPECT_EQ(parse_json(many + "]", "f").size(), 302u);
    EXPECT_TRUE(parse_json("]]]]", "f").is_discarded());
    EXPECT_TRUE(parse_json("", "f").is_discarded());
}

TEST(JsonText, OfAFileNamesIt)
{
    const TemporaryFolder folder;
    std::ofstream(folder / "a.json") << "[1, 2]";
    EXPECT_EQ(parse_json_file(folder / "a.json"), nlohmann::json({1, 2}));
    std::ofstream(folder / "b.json") << nested(201);
    EXPECT_THAT([&] { parse_json_file(folder / "b.json"); },
        ThrowsMessage<Error>((folder / "b.json").string() + ": JSON nested deeper than 200 levels"));
    EXPECT_THAT([&] { parse_json_file(folder / "c.json"); },
        ThrowsMessage<Error>((folder / "c.json").string() + ": cannot be read"));
    EXPECT_THROW(parse_json_file(folder.path()), Error);
}

TEST(JsonText, ThatIsNoneSaysWhatStandsThereAndWhere)
{
    EXPECT_EQ(what_is_no_json("once"), "something else at byte 1");
    EXPECT_EQ(what_is_no_json("{\"a\": 1, b}"), "something else at byte 10");
    EXPECT_EQ(what_is_no_json(""), "something else at byte 1");
    EXPECT_EQ(what_is_no_json("[1, NaN]"), "NaN at byte 5, a number that JSON does not have");
    EXPECT_EQ(what_is_no_json("{\"a\": -Infinity}"), "Infinity at byte 8, a number that JSON does not have");
    EXPECT_EQ(what_is_no_json("Infinity"), "Infinity at byte 1, a number that JSON does not have");
    EXPECT_EQ(what_is_no_json("{\"NaN\": x}"), "something else at byte 9");
}

} // namespace
} // namespace lava
