#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lava {

/// A task of InfiniteBench (Zhang et al. 2024, arXiv:2402.13718).
struct InfiniteBenchTask
{
    std::string_view name;
    std::string_view prompt; ///< the template that its authors give open models
    std::int64_t max_new_tokens;
    std::string_view context, question, answer; ///< kvpress's templates, which are others
};

std::span<const InfiniteBenchTask> infinitebench_tasks();

} // namespace lava
