#include "analysis/means.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace lava {

namespace {

double average(std::span<const double> values)
{
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// A whole number below `size`. The standard's distributions differ between libraries, this does not.
std::size_t below(std::mt19937_64& random, std::size_t size)
{
    return static_cast<std::size_t>((random() >> 32) * size >> 32);
}

double resampled_mean(const std::vector<double>& values, std::mt19937_64& random)
{
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
        sum += values[below(random, values.size())];
    return sum / static_cast<double>(values.size());
}

Mean mean_of_means(std::span<const std::vector<double>> groups)
{
    if (groups.size() == 1)
        return mean_of(groups.front());
    Mean mean{0, 0.0, {}};
    for (const std::vector<double>& group : groups) {
        mean.count += std::ssize(group);
        *mean.value += average(group) / static_cast<double>(groups.size());
    }
    return mean;
}

/// Between the two nearest of ascending values, as numpy.percentile has it.
double quantile(const std::vector<double>& ascending, double share)
{
    const double place = share * static_cast<double>(ascending.size() - 1);
    const auto before = static_cast<std::size_t>(place);
    const std::size_t after = std::min(before + 1, ascending.size() - 1);
    return ascending[before] + (place - static_cast<double>(before)) * (ascending[after] - ascending[before]);
}

} // namespace

Mean mean_of(std::span<const double> values)
{
    Mean mean{static_cast<std::int64_t>(values.size()), {}, {}};
    if (values.empty())
        return mean;
    mean.value = average(values);
    if (values.size() < 2)
        return mean;
    double squares = 0;
    for (const double value : values)
        squares += (value - *mean.value) * (value - *mean.value);
    mean.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
    return mean;
}

Estimate estimate_of(std::span<const double> values)
{
    if (values.empty())
        return {};
    const std::vector<double> group(values.begin(), values.end());
    return estimate_of_groups({&group, 1});
}

Estimate estimate_of_groups(std::span<const std::vector<double>> groups)
{
    constexpr int resamples = 10'000;
    constexpr std::uint64_t seed = 0;
    Estimate result;
    if (groups.empty())
        return result;
    result.mean = mean_of_means(groups);
    if (std::ranges::any_of(groups, [](const std::vector<double>& group) { return group.size() < 2; }))
        return result;
    std::mt19937_64 random(seed);
    std::vector<double> means(resamples);
    for (double& mean : means) {
        for (const std::vector<double>& group : groups)
            mean += resampled_mean(group, random);
        mean /= static_cast<double>(groups.size());
    }
    std::ranges::sort(means);
    result.low = quantile(means, 0.025);
    result.high = quantile(means, 0.975);
    return result;
}

PairedDifference paired_difference(std::span<const double> first, std::span<const double> second)
{
    std::vector<double> differences(first.size());
    std::ranges::transform(second, first, differences.begin(), std::minus<>());
    return estimate_of(differences);
}

} // namespace lava
