#pragma once

#include "capture/session.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <optional>
#include <set>
#include <string>

namespace lava {

/// What lies where a trace of many will go.
struct ExistingTrace
{
    std::optional<TraceInfo> kept; ///< the trace that is there, where it is what the job would record
    std::string fault; ///< why it is made again; empty where there is nothing or it is kept
};

/// Names of the files that the folder's index.json lists; none where there is no index.
std::set<std::string> indexed_traces(const std::filesystem::path& folder);

/// Compares all that makes a trace; without the weights' digest where the job has none yet. Throws UsageError where the
/// file is neither in the index nor a trace by lava-capture: it is not ours to replace.
ExistingTrace existing_trace(const PreparedJob& job, bool repeat_pass, const std::set<std::string>& indexed);

/// Reads all of a trace and verifies it where it holds what that needs; says what is wrong, or nothing.
std::string verify_fault(const std::filesystem::path& trace);

} // namespace lava
