#include "replay/layer_stream.h"

#include "compute/parallel.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <future>

namespace lava {

namespace {

constexpr double memory_for_layers = 2.5e9; // leaves the rest of 4 GiB to rankings and results

// K and V in fp32.
double view_bytes(const TraceInfo& info)
{
    const auto& shape = info.shape;
    return 4.0 * static_cast<double>(2 * shape.num_kv_heads * shape.head_dim) * static_cast<double>(info.seq_len);
}

// What is derived from them: attention weights of the steps, or of the window, for every head.
double work_bytes(const TraceInfo& info)
{
    const auto rows = std::max<std::int64_t>({info.eval_len, 32, 1});
    return 4.0 * static_cast<double>(info.shape.num_heads * rows) * static_cast<double>(info.seq_len);
}

} // namespace

LayerSchedule schedule_layers(const TraceInfo& info, int threads, double memory)
{
    LayerSchedule schedule;
    const auto each = view_bytes(info) + work_bytes(info);
    const auto fitting = static_cast<int>(std::clamp(memory / each, 1.0, static_cast<double>(threads)));
    schedule.at_once = static_cast<int>(std::min<std::int64_t>(fitting, info.shape.num_layers));
    schedule.threads_each = std::max(1, threads / schedule.at_once);
    schedule.reads_ahead = schedule.at_once == 1 && each + view_bytes(info) <= memory;
    return schedule;
}

void stream_layers(const Trace& trace, const std::function<void(const LayerView&)>& task)
{
    const auto layers = trace.info().shape.num_layers;
    const bool reads_ahead = 2 * view_bytes(trace.info()) <= memory_for_layers;
    const auto read = [&trace](std::int64_t layer) {
        const c10::InferenceMode inference;
        return trace.layer(layer);
    };
    std::future<LayerView> following;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const auto view = following.valid() ? following.get() : read(layer);
        if (reads_ahead && layer + 1 < layers) {
            following = std::async(std::launch::async, read, layer + 1);
        }
        parallel_items(1, 1, [&](std::int64_t) { task(view); });
    }
}

void for_each_layer(const Trace& trace, int threads, const std::function<void(const LayerView&, int)>& task)
{
    const auto schedule = schedule_layers(trace.info(), threads, memory_for_layers);
    if (schedule.reads_ahead) {
        stream_layers(trace, [&](const LayerView& view) { task(view, schedule.threads_each); });
        return;
    }
    parallel_items(trace.info().shape.num_layers, schedule.at_once, [&](std::int64_t layer) {
        const auto view = trace.layer(layer);
        task(view, schedule.threads_each);
    });
}

} // namespace lava
