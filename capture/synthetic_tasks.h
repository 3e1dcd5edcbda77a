#pragma once

#include "capture/prompts.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// A prompt with a known answer, as one line of what `lava-capture --prompts` reads.
struct TaskPrompt
{
    std::string id; ///< TASK-SAMPLE
    std::string prompt; ///< what the user says; it ends with the question
    std::string answer_prefix; ///< the answer's first words, without the last of them
    std::string reference; ///< that word and the answer itself: all of the answer is predicted from the evicted cache
    std::vector<TextSpan> spans; ///< of the prompt: needle (needle_2, ...) and question
};

struct TaskRequest
{
    std::string task; ///< one of synthetic_tasks()
    std::int64_t sample = 0;
    std::uint64_t seed = 0;
    std::int64_t tokens = 0; ///< most tokens of prompt, answer prefix and reference
    std::string book; ///< text to hide needles in; tasks on noise and lists do not read it
    /// Tokens of a prompt with its answer prefix and reference.
    std::function<std::int64_t(const TaskPrompt&)> count;
};

struct TaskInfo
{
    std::string_view name;
    std::string_view summary;
};

/// Tasks in the manner of RULER (Hsieh et al. 2024, arXiv:2404.06654): needles in noise or a book, one or several keys,
/// values and questions; chains of variables; the most common words of a list. The sentences are ours.
std::span<const TaskInfo> synthetic_tasks();

/// Prompt of a task, the same for the same request on any machine. Throws UsageError for an unknown task, Error where
/// the length leaves no room for the task.
TaskPrompt make_task(const TaskRequest& request);

} // namespace lava
