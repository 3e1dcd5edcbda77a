#include "base/large_vector.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <numeric>
#include <unistd.h>

namespace lava {
namespace {

/// Bytes of this process that are in memory.
std::int64_t resident_bytes()
{
    std::int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
}

TEST(LargeVector, WhatHasLeftMemoryComesBackAsItWas)
{
    for (const std::size_t count : {std::size_t{1000}, std::size_t{3'000'001}}) {
        LargeVector<std::uint32_t> values(count);
        std::iota(values.begin(), values.end(), 7U);
        leave_memory(values, 500, count / 2);
        leave_memory(values);
        std::uint32_t expected = 7;
        for (const auto value : values) {
            ASSERT_EQ(value, expected++);
        }
    }
}

TEST(LargeVector, WhatHasLeftMemoryTakesNone)
{
    constexpr std::size_t count = std::size_t{1} << 26; // 256 MB
    const auto before = resident_bytes();
    LargeVector<std::uint32_t> values(count);
    std::int64_t most = 0;
    for (std::size_t first = 0; first < count; first += count / 16) {
        std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(first), count / 16, 1U);
        most = std::max(most, resident_bytes() - before);
        leave_memory(values, first, count / 16);
    }
    EXPECT_LT(most, 40'000'000); // one part of 16 MB, and some
}

TEST(LargeVector, CopiesAndGrowsAsAVectorDoes)
{
    LargeVector<float> values;
    for (int i = 0; i < 3'000'000; ++i) {
        values.push_back(static_cast<float>(i));
    }
    const auto copy = values;
    values.clear();
    EXPECT_EQ(copy.size(), 3'000'000U);
    EXPECT_EQ(copy[2'999'999], 2'999'999.0F);
}

} // namespace
} // namespace lava
