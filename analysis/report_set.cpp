#include "analysis/report_set.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/program.h"
#include "traces/recorded_part.h"

#include <filesystem>
#include <map>
#include <tuple>

namespace lava {

namespace {

std::string of_numbers(const std::vector<std::int64_t>& numbers)
{
    std::string text;
    for (const std::int64_t number : numbers)
        text += formatted("{},", number);
    return text;
}

/// What a run is told apart by, beside its prompt: steps, precision, and those of the closed loop.
std::string run_key(const ReplayReport& report)
{
    const TraceInfo& trace = report.trace;
    return formatted("{}:{}:{}:{}:{}", trace.run_dtype, trace.continuation, trace.eval_len, of_numbers(trace.eval_ids),
        of_numbers(report.closed_loop.input_ids));
}

/// "stories260K (5 layers x 4 KV heads of 8, sha256 1a2b3c4d5e6f)".
std::string model_text(const TraceInfo& trace)
{
    const ModelShape& shape = trace.shape;
    return formatted("{} ({} layers x {} KV heads of {}, {})",
        trace.model_name.empty() ? "an unnamed model" : printable(trace.model_name), shape.num_layers,
        shape.num_kv_heads, shape.head_dim,
        trace.weights_sha256.empty() ? "weights unknown" : "sha256 " + printable(trace.weights_sha256.substr(0, 12)));
}

/// A trace may hold other layers and KV heads of the same model; the rest of its shape stays.
bool same_shape(const TraceInfo& a, const TraceInfo& b)
{
    if (a.shape.head_dim != b.shape.head_dim || a.shape.hidden_size != b.shape.hidden_size
        || a.shape.group_size() != b.shape.group_size())
        return false;
    return is_part(a) || is_part(b) || a.shape == b.shape;
}

bool same_weights(const TraceInfo& a, const TraceInfo& b)
{
    if (!a.weights_sha256.empty() && !b.weights_sha256.empty())
        return a.weights_sha256 == b.weights_sha256; // whatever the folder is called
    return a.model_name == b.model_name || a.model_name.empty() || b.model_name.empty();
}

} // namespace

std::string prompt_key(const TraceInfo& trace)
{
    if (!trace.prompt_ids.empty())
        return "ids:" + of_numbers(trace.prompt_ids);
    if (trace.prompt_texts.empty())
        return formatted("file:{}:{}", prompt_id(trace), trace.seq_len);
    std::string key = "texts:";
    for (const std::string& text : trace.prompt_texts)
        key += formatted("{}:{}", text.size(), text);
    return key;
}

std::string prompt_id(const TraceInfo& trace)
{
    return std::filesystem::path(trace.file).stem().string();
}

void check_same_model(std::span<const ReplayReport> reports, Use use)
{
    for (const ReplayReport& report : reports) {
        const TraceInfo& first = reports.front().trace;
        if (!same_shape(first, report.trace) || !same_weights(first, report.trace))
            throw Error(report.file + ": expected a report of " + model_text(first) + ", as " + reports.front().file
                + " is, found one of " + model_text(report.trace));
        const bool same_part = first.shape == report.trace.shape && first.layer_numbers == report.trace.layer_numbers
            && first.kv_head_numbers == report.trace.kv_head_numbers;
        if (use == Use::averaged && !same_part) {
            const auto part = [](const TraceInfo& trace) { return is_part(trace) ? part_text(trace) : "all layers"; };
            throw Error(report.file + ": expected a report of " + part(first) + ", as " + reports.front().file
                + " is, found one of " + part(report.trace));
        }
    }
}

void check_nothing_twice(std::span<const Cell> cells, Use use)
{
    std::map<std::string, std::size_t> prompts;
    std::map<const ReplayReport*, std::size_t> numbers;
    std::map<std::tuple<std::size_t, std::string, std::string, std::int64_t>, const ReplayReport*> seen;
    for (const Cell& cell : cells) {
        if (!numbers.contains(&cell.report)) {
            const std::string key
                = prompt_key(cell.report.trace) + (use == Use::averaged ? "" : "|" + run_key(cell.report));
            numbers[&cell.report] = prompts.try_emplace(key, prompts.size()).first->second;
        }
        const std::size_t prompt = numbers[&cell.report];
        const PolicyReplay& replay = cell.replay();
        for (const char* match : {"nominal", "retained"}) {
            if (replay.match != match && replay.match != "both")
                continue;
            const std::int64_t budget = replay.budgets[cell.budget];
            const auto [place, is_first] = seen.try_emplace({prompt, replay.policy, match, budget}, &cell.report);
            if (!is_first && place->second != &cell.report)
                throw Error(formatted("{} and {} both have {} at {} for the same prompt, which would count it twice; "
                                      "expected one of them",
                    place->second->file, cell.report.file, replay.policy, budget));
        }
    }
}

} // namespace lava
