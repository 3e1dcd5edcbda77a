#include "capture/forecast.h"

#include "base/error.h"
#include "traces/layer_datasets.h"
#include "traces/trace_writer.h"

#include <cstdio>
#include <set>

namespace lava {

namespace {

using Names = std::set<std::string_view>;

/// What a layer of the trace will have, W_O and its bias apart.
Names recorded(const TraceInfo& info, const RecordOptions& options)
{
    Names names;
    for (const auto& dataset : layer_datasets()) {
        const bool is_statistic = dataset.name.starts_with("q_pre_rope");
        const bool is_repeat = dataset.name.starts_with("repeat");
        const bool is_stream = dataset.role == Role::evaluation && dataset.extents(info).size() == 2;
        const bool left_out = dataset.role == Role::weight || (dataset.role == Role::evaluation && info.eval_len == 0)
            || (is_stream && !info.kv_head_numbers.empty()) || (is_statistic && info.seq_len <= 4)
            || (is_repeat && !options.repeat);
        if (!left_out) {
            names.insert(dataset.name);
        }
    }
    return names;
}

std::int64_t bytes_of_tokens(const TraceInfo& info)
{
    std::int64_t bytes = 0;
    for (const std::string& text : info.prompt_texts) {
        bytes += std::ssize(text);
    }
    constexpr std::int64_t id_and_offset = 16, text_of_a_step = 8;
    return bytes + id_and_offset * (info.seq_len + info.eval_len) + text_of_a_step * info.eval_len
        + std::ssize(info.model_config);
}

std::string size_text(std::int64_t bytes)
{
    char text[32];
    const bool large = bytes >= 1'000'000'000;
    std::snprintf(text, sizeof text, "%.1f %s", static_cast<double>(bytes) / (large ? 1e9 : 1e6), large ? "GB" : "MB");
    return text;
}

} // namespace

Forecast forecast(const TraceInfo& info, const ModelShape& model, const RecordOptions& options,
    const StoreOptions& store, bool has_output_bias)
{
    constexpr std::int64_t tables_of_hdf5_a_layer = 8192;
    const Names weights = has_output_bias && info.kv_head_numbers.empty() ? Names{"w_o", "b_o"} : Names{"w_o"};
    const std::int64_t bytes_of_weights = bytes_of_layers(info, store.store, weights);
    Forecast sizes;
    sizes.trace = bytes_of_layers(info, store.store, recorded(info, options)) + 4 * info.eval_len * info.vocab_size
        + bytes_of_tokens(info) + tables_of_hdf5_a_layer * info.shape.num_layers;
    if (store.weights.empty()) {
        sizes.trace += bytes_of_weights;
    } else if (!std::filesystem::exists(store.weights)) {
        sizes.weights = bytes_of_weights;
    }
    if (store.resume) {
        const StoreType run = info.run_dtype == "float32" ? StoreType::f32 : StoreType::f16; // or another of two bytes
        const std::int64_t streams = 2 * info.seq_len * info.shape.hidden_size * (run == StoreType::f32 ? 4 : 2);
        TraceInfo whole = info;
        whole.shape = model;
        whole.kv_head_numbers.clear();
        sizes.resume = bytes_of_layers(whole, run, recorded(whole, options)) + streams * (options.repeat ? 2 : 1);
    }
    return sizes;
}

std::string to_string(const Forecast& sizes)
{
    return "trace " + size_text(sizes.trace) + (sizes.weights > 0 ? ", weights file " + size_text(sizes.weights) : "")
        + (sizes.resume > 0 ? ", finished layers for --resume " + size_text(sizes.resume) : "");
}

void check_room(const Forecast& sizes, const std::filesystem::path& trace)
{
    std::error_code error;
    const auto folder = std::filesystem::absolute(trace).parent_path();
    const auto space = std::filesystem::space(folder, error);
    if (!error && space.available < static_cast<std::uintmax_t>(sizes.total())) {
        throw Error(trace.string() + ": " + size_text(static_cast<std::int64_t>(space.available))
            + " are free on its disk, expected " + size_text(sizes.total()) + " (" + to_string(sizes) + ")");
    }
}

} // namespace lava
