#pragma once

#include "model/config.h"
#include "traces/layer_view.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace lava {

/// What is recorded of a model: numbers of layers and KV heads, ascending; empty: all.
struct Part
{
    std::vector<std::int64_t> layers, kv_heads;
};

/// `info`, whose shape is the whole model's, as a trace of `part` has it. Throws Error where the model has no such
/// layer or KV head.
TraceInfo part_info(TraceInfo info, const Part& part);

/// Which layer of the trace a model's layer is; nothing where it is not recorded.
std::optional<std::int64_t> recorded_layer(const TraceInfo& info, std::int64_t layer);

/// What a trace keeps of a layer recorded whole. Where KV heads are left out, so is what belongs to all of them: b_o
/// and the residual stream.
LayerView part_view(LayerView whole, const TraceInfo& info, std::int64_t recorded_layer);

} // namespace lava
