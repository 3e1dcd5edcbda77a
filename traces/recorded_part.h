#pragma once

#include "traces/trace_info.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

// A trace may hold a part of a model's layers and KV heads. Inside, they are counted from 0; people are shown the
// numbers that they have in the model.

std::int64_t layer_number(const TraceInfo& info, std::int64_t layer);
std::int64_t kv_head_number(const TraceInfo& info, std::int64_t kv_head);
std::int64_t query_head_number(const TraceInfo& info, std::int64_t query_head);

/// Whether the trace lacks some of the model's layers or heads.
bool is_part(const TraceInfo& info);
/// "layers 8-11,20, KV heads 0"; empty where nothing is lacking.
std::string part_text(const TraceInfo& info);

/// "8-11,20" -> 8, 9, 10, 11, 20. Throws UsageError naming `option` where the text is anything but ascending numbers
/// and ranges.
std::vector<std::int64_t> parse_ranges(std::string_view text, const std::string& option);
std::string ranges_text(std::span<const std::int64_t> numbers);

} // namespace lava
