#include "capture/existing_trace.h"

#include "base/error.h"
#include "base/json_text.h"
#include "base/output_guard.h"
#include "traces/layer_datasets.h"
#include "traces/recorded_part.h"
#include "traces/trace.h"
#include "traces/verify.h"

#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <sstream>

namespace lava {

namespace {

std::string number(std::int64_t value)
{
    return std::to_string(value);
}

std::string part_of(const TraceInfo& info)
{
    const std::string text = part_text(info);
    return text.empty() ? "all layers and heads" : text;
}

/// Facts that a person would recognise, named.
std::string named_difference(const TraceInfo& found, const PreparedJob& job)
{
    const TraceInfo& wanted = job.info;
    const std::vector<std::array<std::string, 3>> facts{
        {"format", number(found.format_major) + "." + number(found.format_minor),
            number(wanted.format_major) + "." + number(wanted.format_minor)},
        {"model", found.model_name, wanted.model_name},
        {"weights", wanted.weights_sha256.empty() ? "" : found.weights_sha256, wanted.weights_sha256},
        {"part", part_of(found), part_of(wanted)},
        {"window", number(found.window), number(wanted.window)},
        {"steps", number(found.eval_len), number(wanted.eval_len)},
        {"continuation", found.continuation, wanted.continuation},
        {"device", found.device, wanted.device},
        {"dtype", found.run_dtype, wanted.run_dtype},
        {"store", std::string(to_string(found.store_type)), std::string(to_string(job.store.store))},
    };
    for (const auto& [name, here, expected] : facts) {
        if (here != expected) {
            return name + ": expected " + expected + ", found " + (here.empty() ? "none" : here);
        }
    }
    return {};
}

/// Why a trace is not what `job` would record; empty where it is.
std::string difference(const TraceInfo& found, const PreparedJob& job, bool repeat_pass)
{
    const TraceInfo& wanted = job.info;
    const auto& reference = job.evaluation.reference;
    const bool has_own_weights = files_of_trace(job.store.trace).size() == 1;
    if (found.prompt_ids != wanted.prompt_ids || found.prompt_texts != wanted.prompt_texts
        || found.tokenization != wanted.tokenization) {
        return "it is of another prompt";
    }
    if (const std::string fact = named_difference(found, job); !fact.empty()) {
        return fact;
    }
    if (!reference.empty() && found.eval_ids != reference) {
        return "it is of another reference";
    }
    if (found.spans != wanted.spans) {
        return "it has other spans";
    }
    if (found.has_repeat_maxima != repeat_pass) {
        return repeat_pass ? "it has no repeat pass" : "it has a repeat pass";
    }
    if (has_own_weights != job.store.weights.empty()) {
        return has_own_weights ? "it holds W_O itself" : "it links to W_O";
    }
    const bool same_model = found.shape == wanted.shape && found.vocab_size == wanted.vocab_size
        && found.layer_numbers == wanted.layer_numbers && found.kv_head_numbers == wanted.kv_head_numbers
        && found.layer_windows == wanted.layer_windows && found.rope_inv_freq == wanted.rope_inv_freq
        && found.rope_attention_scaling == wanted.rope_attention_scaling && found.model_config == wanted.model_config;
    return same_model ? "" : "its model has another config.json";
}

} // namespace

std::set<std::string> indexed_traces(const std::filesystem::path& folder)
{
    std::set<std::string> names;
    const auto file = folder / "index.json";
    if (!std::filesystem::is_regular_file(file)) {
        return names;
    }
    const auto index = parse_json_file(file);
    if (!index.is_object() || !index.contains("format") || index["format"] != "lava-index"
        || !index.contains("traces")) {
        return names;
    }
    for (const auto& entry : index["traces"]) {
        if (entry.is_object() && entry.contains("trace") && entry["trace"].is_string()) {
            names.insert(entry["trace"].get<std::string>());
        }
    }
    return names;
}

ExistingTrace existing_trace(const PreparedJob& job, bool repeat_pass, const std::set<std::string>& indexed)
{
    const auto& file = job.store.trace;
    if (!std::filesystem::exists(std::filesystem::symlink_status(file))) {
        return {};
    }
    const bool is_indexed = indexed.contains(file.filename().string());
    try {
        TraceInfo found = Trace(file).info();
        if (!is_indexed && !found.generator.starts_with("lava-capture ")) {
            throw UsageError(file.string() + ": a trace by " + found.generator
                + ", which a capture does not replace: remove it, or give another folder or id");
        }
        const std::string fault = difference(found, job, repeat_pass);
        return fault.empty() ? ExistingTrace{std::move(found), {}} : ExistingTrace{std::nullopt, fault};
    } catch (const Error& error) {
        if (!is_indexed) {
            throw UsageError(file.string()
                + ": is there and no trace that a capture made, which it would replace: remove it, or give another "
                  "folder or id");
        }
        return {std::nullopt, error.what()};
    }
}

std::string verify_fault(const std::filesystem::path& file)
{
    try {
        const Trace trace(file);
        for (std::int64_t layer = 0; layer < trace.info().shape.num_layers; ++layer) {
            const LayerView view = trace.layer(layer);
            const LayerDeviation deviation = trace.info().has_outputs ? verify_layer(view) : LayerDeviation{};
            const std::string fault = fault_of(deviation, check_identities(view, trace.info()));
            if (!fault.empty()) {
                return "layer " + number(layer) + " does not verify: " + fault;
            }
        }
        if (trace.info().has_logits) {
            (void)trace.logits();
        }
        return {};
    } catch (const Error& error) {
        return error.what();
    }
}

} // namespace lava
