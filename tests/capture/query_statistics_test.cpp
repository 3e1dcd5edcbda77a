#include "capture/query_statistics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace lava {
namespace {

TEST(QueryStatistics, OfAWorkedExample)
{
    // positions 0 to 3 do not count; then (1, 0), (3, 2), (5, 4): mean (3, 2), every covariance 8 / 3
    QueryStatistics statistics;
    statistics.add(
        at::tensor({90., 91., 92., 93., 94., 95., 96., 97., 1., 0., 3., 2., 5., 4.}, at::kFloat).view({1, 7, 2}));
    const auto found = statistics.result();
    EXPECT_TRUE(at::equal(found.mean, at::tensor({3., 2.}, at::kFloat).view({1, 2})));
    EXPECT_TRUE(at::allclose(found.covariance, at::full({1, 2, 2}, 8. / 3, at::kFloat)));
}

TEST(QueryStatistics, DoNotDependOnHowThePositionsArrive)
{
    const auto q = at::randn({3, 3000, 8}) + 2;
    QueryStatistics whole, pieces;
    whole.add(q);
    for (const auto& [begin, rows] :
        {std::pair<std::int64_t, std::int64_t>{0, 1}, {1, 2}, {3, 5}, {8, 1500}, {1508, 1492}})
        pieces.add(q.narrow(1, begin, rows));
    EXPECT_TRUE(at::allclose(whole.result().mean, pieces.result().mean, 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(whole.result().covariance, pieces.result().covariance, 1e-6, 1e-6));
}

TEST(QueryStatistics, HoldWhereTheMeanDwarfsTheSpread)
{
    const auto q = (at::randn({1, 4000, 4}, at::kDouble) * 1e-2 + 100).to(at::kFloat);
    QueryStatistics statistics;
    statistics.add(q);
    const auto counted = q.narrow(1, 4, 3996).to(at::kDouble);
    const auto centered = counted - counted.mean(1, true);
    const auto expected = at::matmul(centered.transpose(1, 2), centered) / 3996;
    EXPECT_TRUE(at::allclose(statistics.result().covariance, expected.to(at::kFloat), 1e-4, 1e-9));
}

TEST(QueryStatistics, OfTheSinksAloneAreNone)
{
    QueryStatistics statistics;
    EXPECT_FALSE(statistics.result().mean.defined());
    statistics.add(at::ones({2, 4, 3}));
    EXPECT_FALSE(statistics.result().mean.defined());
    statistics.add(at::ones({2, 1, 3}));
    EXPECT_TRUE(statistics.result().covariance.eq(0).all().item<bool>());
}

} // namespace
} // namespace lava
