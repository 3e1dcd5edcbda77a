#pragma once

#include "traces/trace.h"

#include <functional>

namespace lava {

/// Calls task(layer, threads for it) for every layer of a trace, each read once. Small layers are worked on side by
/// side, one thread each. Of large ones only as many as fit in memory together are held, and all threads share the work
/// on them; where one fits beside the layer being worked on, it is read ahead. Rethrows the exception of the first
/// layer that threw.
void for_each_layer(const Trace& trace, int threads, const std::function<void(const LayerView&, int)>& task);

/// Calls task(layer) for one layer after the other, in inference mode with one ATen thread; where two fit in memory,
/// the next one is read meanwhile.
void stream_layers(const Trace& trace, const std::function<void(const LayerView&)>& task);

/// How for_each_layer divides the work: layers held at once and threads for each of them.
struct LayerSchedule
{
    int at_once = 1;
    int threads_each = 1;
    bool reads_ahead = false;
};

/// `memory`: bytes that the layers in work may take together.
LayerSchedule schedule_layers(const TraceInfo& info, int threads, double memory);

} // namespace lava
