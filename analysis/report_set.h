#pragma once

#include "analysis/statistics.h"

#include <span>
#include <string>

namespace lava {

// What may stand in one table: reports of one model, and nothing twice.

/// What prompts are told apart by, whatever file the trace lay in: the token ids, or where they are unknown the texts,
/// or the trace's name.
std::string prompt_key(const TraceInfo& trace);

/// What people know the prompt by: the trace's file name without folder and ending, as lava-capture --prompts names it.
std::string prompt_id(const TraceInfo& trace);

/// How the reports of a command are used.
enum class Use
{
    side_by_side, ///< a row of their own each
    averaged ///< one number for all of them
};

/// Throws Error naming both files where two reports are not of the same weights, or where averages would be over
/// different parts of the model.
void check_same_model(std::span<const ReplayReport> reports, Use use);

/// Throws Error naming both files where two reports have the same policy at the same budget for the same prompt; side
/// by side, of the same recorded run.
void check_nothing_twice(std::span<const Cell> cells, Use use);

} // namespace lava
