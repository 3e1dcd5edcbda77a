#include "compute/cpu/kernels/exponential.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lava {
namespace {

using S = Simd<16>; // what any processor runs

float flushed(float x)
{
    return exp_flushed<16>(S::all(x))[0];
}

float gradual(float x)
{
    return exp_gradual<16>(S::all(x))[0];
}

template <typename Number> double ulps(Number found, double expected)
{
    const auto near = static_cast<Number>(expected);
    const auto step = std::nextafter(near, std::numeric_limits<Number>::max()) - near;
    return std::abs(static_cast<double>(found) - expected) / static_cast<double>(step);
}

TEST(Exponentials, OfFloatsAreWithinTwoUnitsInTheLastPlace)
{
    for (float x = 0; x >= -87; x -= 0.00731F) {
        EXPECT_LT(ulps(flushed(x), std::exp(static_cast<double>(x))), 2) << x;
        EXPECT_LT(ulps(gradual(x), std::exp(static_cast<double>(x))), 2) << x;
    }
    EXPECT_EQ(flushed(0), 1);
    EXPECT_EQ(gradual(0), 1);
}

TEST(Exponentials, BelowNormalNumbersOneIsZeroAndTheOtherRounds)
{
    for (float x = -87.01F; x > -103; x -= 0.0731F) {
        EXPECT_EQ(flushed(x), 0) << x;
        EXPECT_LT(ulps(gradual(x), std::exp(static_cast<double>(x))), 1) << x;
    }
    for (const float x : {-105.0F, -1e6F, -std::numeric_limits<float>::infinity()}) {
        EXPECT_EQ(flushed(x), 0) << x;
        EXPECT_EQ(gradual(x), 0) << x;
    }
}

TEST(Exponentials, OfDoublesAreAsExactAsTheyPromise)
{
    for (double x = 0; x > -700; x -= 0.0731) {
        const auto expected = std::exp(x);
        EXPECT_LT(ulps<double>(exp_double<16>(S::all(x))[0], expected), 2) << x;
        EXPECT_LT(std::abs(exp_double_for_floats<16>(S::all(x))[0] / expected - 1), 1e-8) << x;
    }
    EXPECT_EQ(exp_double<16>(S::all(-709.0))[0], 0);
}

} // namespace
} // namespace lava
