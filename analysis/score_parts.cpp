#include "analysis/score_parts.h"

#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace lava {

void check_metric_option(const std::string& name)
{
    if (find_metric(name))
        return;
    std::string names;
    for (const Metric& metric : metrics())
        names += (names.empty() ? "" : ", ") + std::string(metric.name);
    throw UsageError("--metric: expected one of " + names + "; found '" + name + "'");
}

std::unique_ptr<ChineseWords> jieba_words(const Metric& metric, const std::filesystem::path& folder)
{
    const std::filesystem::path debian = "/usr/lib/python3/dist-packages/jieba"; // of the package python3-jieba
    if (!folder.empty())
        return std::make_unique<ChineseWords>(folder);
    if (std::filesystem::exists(debian / "dict.txt"))
        return std::make_unique<ChineseWords>(debian);
    throw UsageError(std::string(metric.name)
        + " needs the words that the Python package jieba cuts Chinese into: install Debian's python3-jieba, or name "
          "the package's folder, which holds dict.txt, with --jieba");
}

double percent_of(double share)
{
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", 100 * share);
    return std::strtod(text, nullptr);
}

std::string samples_text(std::int64_t count)
{
    return std::to_string(count) + (count == 1 ? " sample" : " samples");
}

} // namespace lava
