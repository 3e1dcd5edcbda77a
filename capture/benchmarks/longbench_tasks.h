#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lava {

/// A data set of LongBench (Bai et al. 2023, arXiv:2308.14508). Its template is context, question and answer one after
/// the other; kvpress compresses the first of them alone.
struct LongBenchTask
{
    std::string_view name;
    std::string_view context, question, answer;
    std::string_view moved; ///< end of a record's input that is kvpress's answer prefix
    std::int64_t max_new_tokens;
    std::string_view metric;
    bool chat; ///< few-shot and code tasks are asked without the chat template
};

std::span<const LongBenchTask> longbench_tasks();

} // namespace lava
