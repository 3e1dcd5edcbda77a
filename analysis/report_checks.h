#pragma once

#include "analysis/replay_report.h"

namespace lava {

/// Throws Error naming `file`, dataset, expected and found where the sizes of the trace that was replayed make no
/// sense.
void check_report_sizes(const std::filesystem::path& file, const TraceInfo& trace);

/// Throws Error where a report contradicts itself in what types and shapes do not say: rankings are permutations,
/// counts fit, losses are finite and either everywhere or nowhere, spans lie inside the prompt.
void check_report(const std::filesystem::path& file, const ReplayReport& report);

/// Name of policy `index` below /policies: "0003".
std::string policy_name(std::size_t index);

} // namespace lava
