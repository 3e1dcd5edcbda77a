#pragma once

#include "analysis/metrics/metric.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace lava {

// What the scores of predictions and those of reports share.

/// Samples below which an interval is told to be narrower than it should be.
inline constexpr std::int64_t few_samples = 30;

/// Throws UsageError where --metric names none.
void check_metric_option(const std::string& name);

/// The words that a metric cuts Chinese into, out of the Python package jieba: in `folder`, or where Debian has it if
/// that is empty. Throws UsageError where there is none.
std::unique_ptr<ChineseWords> jieba_words(const Metric& metric, const std::filesystem::path& folder);

/// As the official scorers print it: 100 times, to two decimals.
double percent_of(double share);

/// "1 sample", "3 samples".
std::string samples_text(std::int64_t count);

} // namespace lava
