#include "analysis/oracle.h"

#include "base/error.h"
#include "example_report.h"

#include <gmock/gmock.h>

#include <random>

namespace lava {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LowerHull, LeavesOutPointsAboveIt)
{
    const auto hull = lower_hull({{1, 2, 3, 4, 6}, {10, 8, 3, 2.5, 0}});
    EXPECT_THAT(hull.counts, ElementsAre(1, 3, 6)); // 3 to 6 falls by 1 an entry: 2.5 at 4 lies above 2
    EXPECT_THAT(hull.losses, ElementsAre(10, 3, 0));
}

TEST(OracleAllocation, TakesTheSteepestFallsFirst)
{
    const std::vector<LossCurve> curves{{{1, 2, 4}, {10, 4, 0}}, {{1, 3, 4}, {5, 1, 0}}};
    // falls per entry: 6, 2 (two entries) and 2 (two entries), 1
    const auto two = oracle_allocation(curves, 3);
    EXPECT_THAT(two.counts, ElementsAre(2, 1));
    EXPECT_EQ(two.loss, 9);
    EXPECT_EQ(two.bound, 9);
    const auto part = oracle_allocation(curves, 4); // one of head 0's last two entries
    EXPECT_THAT(part.counts, ElementsAre(3, 1));
    EXPECT_EQ(part.loss, 9);
    EXPECT_EQ(part.bound, 7);
    EXPECT_THAT(oracle_allocation(curves, 8).counts, ElementsAre(4, 4));
    EXPECT_EQ(oracle_allocation(curves, 8).loss, 0);
}

TEST(OracleAllocation, SharesWhatLiesBelowTheCurvesInProportion)
{
    const std::vector<LossCurve> curves{{{6, 9}, {1, 0}}, {{3, 9}, {1, 0}}};
    EXPECT_THAT(oracle_allocation(curves, 6).counts, ElementsAre(4, 2));
    EXPECT_THAT(oracle_allocation(curves, 7).counts, ElementsAre(5, 2));
    EXPECT_THAT(oracle_allocation(curves, 0).counts, ElementsAre(0, 0));
}

// All divisions over measured points of three heads.
double best_by_trial(const std::vector<LossCurve>& curves, std::int64_t total)
{
    double best = 1e9;
    for (std::size_t a = 0; a < curves[0].counts.size(); ++a) {
        for (std::size_t b = 0; b < curves[1].counts.size(); ++b)
            for (std::size_t c = 0; c < curves[2].counts.size(); ++c)
                if (curves[0].counts[a] + curves[1].counts[b] + curves[2].counts[c] <= total)
                    best = std::min(best, curves[0].losses[a] + curves[1].losses[b] + curves[2].losses[c]);
    }
    return best;
}

TEST(OracleAllocation, BoundsTheBestDivisionFromBothSides)
{
    std::mt19937 random(5);
    std::uniform_real_distribution<double> fall(0, 1);
    for (int trial = 0; trial < 50; ++trial) {
        std::vector<LossCurve> curves(3);
        for (auto& curve : curves) {
            double loss = 0;
            for (std::int64_t count = 12; count > 0; count -= 1 + static_cast<std::int64_t>(3 * fall(random))) {
                curve.counts.insert(curve.counts.begin(), count);
                curve.losses.insert(curve.losses.begin(), loss);
                loss += fall(random);
            }
        }
        for (const std::int64_t total : {12, 17, 25, 36}) {
            const auto oracle = oracle_allocation(curves, total);
            const auto best = best_by_trial(curves, total);
            EXPECT_EQ(oracle.counts[0] + oracle.counts[1] + oracle.counts[2], total);
            EXPECT_LE(oracle.bound, best + 1e-12);
            EXPECT_GE(oracle.loss, best - 1e-12);
        }
    }
}

TEST(LossCurves, HoldWhatThePolicyWasMeasuredAt)
{
    const auto report = example_report();
    const auto curves = loss_curves(report, 0);
    const auto& shape = report.trace.shape;
    ASSERT_EQ(std::ssize(curves), shape.num_layers * shape.num_kv_heads);
    const auto& replay = report.policies[0];
    const auto& curve = curves[3]; // layer 1, KV head 1: query heads 2 and 3
    const auto steps = report.trace.eval_len;
    double loss = 0;
    double norm = 0;
    for (std::int64_t i = 0; i < 2 * steps; ++i)
        loss += replay.head_output_l1[static_cast<std::size_t>((1 * 4 + 2) * steps + i)];
    for (std::int64_t i = 0; i < 4 * steps; ++i)
        norm += report.norms.head_output_l1[static_cast<std::size_t>(1 * 4 * steps + i)];
    EXPECT_EQ(curve.counts.front(), replay.counts[3]);
    EXPECT_THAT(curve.losses.front(), DoubleNear(loss / norm, 1e-9));
    EXPECT_EQ(curve.counts.back(), report.trace.seq_len);
    EXPECT_EQ(curve.losses.back(), 0);
}

TEST(OracleTable, NeverLosesMoreThanThePolicyItself)
{
    const std::vector<ReplayReport> reports{example_report()};
    const auto policy = reports[0].policies[0].policy;
    const auto table = oracle_table(reports, policy);
    ASSERT_EQ(table.rows.size(), reports[0].policies[0].budgets.size());
    for (const auto& row : table.rows) {
        const auto own = std::get<double>(row[4]);
        EXPECT_LE(std::get<double>(row[6]), own + 1e-12);
        EXPECT_NEAR(std::get<double>(row[7]), std::get<double>(row[5]) - std::get<double>(row[6]), 1e-12);
    }
}

TEST(OracleCurves, EvictTheShareThatIsAskedFor)
{
    const std::vector<ReplayReport> reports{example_report(), example_report()};
    const auto curves = oracle_curves(reports, reports[0].policies[0].policy);
    EXPECT_THAT(curves.shape, ElementsAre(99, 3, 2));
    for (std::int64_t percent = 1; percent <= 99; ++percent) {
        double sum = 0;
        for (std::size_t head = 0; head < 6; ++head)
            sum += curves.values[static_cast<std::size_t>(percent - 1) * 6 + head];
        EXPECT_NEAR(sum * 24, static_cast<double>(6 * 24 * percent / 100), 1e-9) << percent;
    }
    EXPECT_THAT([&] { oracle_curves(reports, "tova"); }, ThrowsMessage<Error>(HasSubstr("tova")));
}

} // namespace
} // namespace lava
