#include "traces/recorded_part.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace lava {
namespace {

using Numbers = std::vector<std::int64_t>;

TEST(RecordedPart, RangesAreReadAndWrittenAlike)
{
    EXPECT_EQ(parse_ranges("3", "--layers"), Numbers{3});
    EXPECT_EQ(parse_ranges("0,4-6,8-8", "--layers"), (Numbers{0, 4, 5, 6, 8}));
    for (const char* text : {"0", "0-1", "2,4-7,9,11-12"})
        EXPECT_EQ(ranges_text(parse_ranges(text, "--layers")), text);
}

TEST(RecordedPart, RefusesWhatIsNoAscendingRange)
{
    for (const char* text : {"", ",", "1,", "a", "1-", "-1", "1--2", "3-2", "2,2", "4,1", "1-3,3", "1 2", "0x1",
             "1-2-3", "99999999999999999999", "70000"})
        EXPECT_THROW(parse_ranges(text, "--layers"), UsageError) << text;
}

TEST(RecordedPart, QueryHeadsAreNumberedByTheirKvHead)
{
    TraceInfo info;
    info.shape = {2, 6, 2, 8, 64};
    info.layer_numbers = {7, 9};
    info.kv_head_numbers = {1, 4};
    EXPECT_EQ(layer_number(info, 1), 9);
    EXPECT_EQ(query_head_number(info, 0), 3);
    EXPECT_EQ(query_head_number(info, 5), 14);
    EXPECT_EQ(part_text(info), "layers 7,9, KV heads 1,4");
    info.layer_numbers.clear();
    info.kv_head_numbers.clear();
    EXPECT_EQ(query_head_number(info, 5), 5);
    EXPECT_EQ(part_text(info), "");
}

} // namespace
} // namespace lava
