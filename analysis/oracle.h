#pragma once

#include "analysis/npy.h"
#include "analysis/selection.h"
#include "analysis/table.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lava {

/// What a head loses at each number of entries that it may keep of one ranking. Counts ascend; the last one is all it
/// has, where nothing is lost.
struct LossCurve
{
    std::vector<std::int64_t> counts;
    std::vector<double> losses;
};

/// The lower convex hull of a curve: the points that a division of a budget needs to look at.
LossCurve lower_hull(const LossCurve& curve);

/// A total divided over heads so that the sum of their losses is least.
struct OracleAllocation
{
    std::vector<std::int64_t> counts; ///< [heads], summing to the total
    double loss = 0; ///< of the division over measured points: what these counts lose at most, where curves fall
    double bound = 0; ///< no division of the total loses less, as far as the curves' hulls go
};

/// Greedy on the lower hulls (method: section 4): the steepest segments first, the last one in part. The duality gap is
/// loss - bound. A total below the curves' first points shares them in proportion, and is charged their losses.
OracleAllocation oracle_allocation(std::span<const LossCurve> curves, std::int64_t total);

/// One curve for each cache of a policy, [L * H]: sums over steps and the group's query heads of the head attention
/// output loss (L1), relative to the layer's uncompressed sum. Throws Error for a policy without losses, with a ranking
/// for each budget, or with values of its own.
std::vector<LossCurve> loss_curves(const ReplayReport& report, std::size_t policy);

/// Per report and budget of one policy: its own loss by those curves, and what the oracle's division of the same total
/// loses.
Table oracle_table(std::span<const ReplayReport> reports, const std::string& policy);

/// The oracle's division when p percent of the cache are evicted, p = 1 to 99, as shares of each head to evict: [99, L,
/// Hkv], the mean over the reports. What lu-kv:file= reads. Throws Error where the reports differ in shape.
NpyArray oracle_curves(std::span<const ReplayReport> reports, const std::string& policy);

} // namespace lava
