#include "analysis/means.h"

#include <gmock/gmock.h>

#include <cmath>

namespace lava {
namespace {

using testing::DoubleEq;
using testing::DoubleNear;
using testing::Optional;

TEST(Means, AreThoseOfTheSample)
{
    const Mean mean = mean_of(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9});
    EXPECT_EQ(mean.count, 8);
    EXPECT_THAT(mean.value, Optional(DoubleEq(5)));
    EXPECT_THAT(mean.deviation, Optional(DoubleEq(std::sqrt(32.0 / 7))));
    EXPECT_EQ(mean_of(std::vector<double>{3}).deviation, std::nullopt);
    EXPECT_EQ(mean_of({}).value, std::nullopt);
}

TEST(PairedDifferences, AreOfTheSecondFromTheFirst)
{
    const std::vector<double> first = {1, 10, 100};
    const std::vector<double> second = {2, 12, 103};
    const PairedDifference pairs = paired_difference(first, second);
    EXPECT_THAT(pairs.mean.value, Optional(DoubleEq(2)));
    EXPECT_EQ(pairs.mean.count, 3);
    // of 27 resamples of 1, 2 and 3 one has the mean 1, one 3, three each 4/3 and 8/3: 2.5 % lies in the first of each
    EXPECT_THAT(pairs.low, Optional(DoubleEq(1)));
    EXPECT_THAT(pairs.high, Optional(DoubleEq(3)));
    const PairedDifference again = paired_difference(first, second);
    EXPECT_EQ(again.low, pairs.low);
    EXPECT_EQ(paired_difference(std::vector<double>{1}, std::vector<double>{2}).low, std::nullopt);
    EXPECT_EQ(paired_difference({}, {}).mean.value, std::nullopt);
}

TEST(Estimates, OfGroupsCountEveryGroupTheSame)
{
    const std::vector<std::vector<double>> groups = {{0, 1}, {1, 1, 1, 1}};
    const Estimate estimate = estimate_of_groups(groups);
    EXPECT_THAT(estimate.mean.value, Optional(DoubleEq(0.75)));
    EXPECT_EQ(estimate.mean.count, 6);
    EXPECT_EQ(estimate.mean.deviation, std::nullopt);
    // the first group's resampled mean is 0 or 1 in a quarter of all resamples each
    EXPECT_THAT(estimate.low, Optional(DoubleEq(0.5)));
    EXPECT_THAT(estimate.high, Optional(DoubleEq(1)));
    EXPECT_EQ(estimate_of_groups(std::vector<std::vector<double>>{{0, 1}, {1}}).low, std::nullopt);
}

TEST(PairedDifferences, HaveTheIntervalOfTheNormalDistributionForMany)
{
    std::vector<double> first(400), second(400);
    for (std::size_t i = 0; i < second.size(); ++i)
        second[i] = i % 2 == 0 ? 1 : -1; // deviation 1, so the mean's is 1/20
    const PairedDifference pairs = paired_difference(first, second);
    EXPECT_THAT(pairs.low, Optional(DoubleNear(-1.96 / 20, 0.006)));
    EXPECT_THAT(pairs.high, Optional(DoubleNear(1.96 / 20, 0.006)));
}

} // namespace
} // namespace lava
