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

/// What a quantity differs by between two policies on the same prompts.
struct PairedDifference
{
    Mean mean; ///< of second - first
    std::optional<double> low; ///< 95 % interval of that mean; nothing for fewer than two pairs
    std::optional<double> high;
};

/// The interval is the percentile bootstrap's: 10,000 resamples of the pairs from a fixed seed, so that the same
/// numbers give the same interval everywhere. `first` and `second` are equally long, a pair at each place.
PairedDifference paired_difference(std::span<const double> first, std::span<const double> second);

} // namespace lava
