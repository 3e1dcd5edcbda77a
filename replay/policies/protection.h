#pragma once

#include "traces/trace_info.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Entries that a policy is told to keep, from first:N, last:N and span:NAME joined by '+', or none: [seq_len], 1 where
/// protected; empty for none. They count inside the budget and rank first in their head. Throws UsageError for a
/// malformed list, Error for a span that the trace does not mark (listing those it does) or more tokens than it has.
std::vector<std::uint8_t> protected_positions(std::string_view list, const std::string& policy, const TraceInfo& info);

} // namespace lava
