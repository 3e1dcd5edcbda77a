#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lava {

/// A mean over prompts. Nothing where there is no prompt; no deviation where there is one.
struct Mean
{
    std::int64_t count = 0;
    std::optional<double> value;
    std::optional<double> deviation; ///< standard deviation of the sample: the sum of squares over count - 1
};

Mean mean_of(std::span<const double> values);

/// A mean and what is known of it from its samples.
struct Estimate
{
    Mean mean;
    std::optional<double> low; ///< 95 % interval of that mean; nothing for fewer than two samples
    std::optional<double> high;
};

/// The interval is the percentile bootstrap's: 10,000 resamples of the values from a fixed seed, so that the same
/// numbers give the same interval everywhere.
Estimate estimate_of(std::span<const double> values);

/// The mean of the groups' means, whatever their sizes, as a benchmark averages over its tasks; each group is resampled
/// by itself. There is no deviation, and no interval where a group has fewer than two values. One group: estimate_of.
/// Groups are not empty.
Estimate estimate_of_groups(std::span<const std::vector<double>> groups);

/// What a quantity differs by between two policies on the same prompts: the mean is of second - first.
using PairedDifference = Estimate;

/// `first` and `second` are equally long, a pair at each place.
PairedDifference paired_difference(std::span<const double> first, std::span<const double> second);

} // namespace lava
