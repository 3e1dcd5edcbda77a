#include "capture/bulk.h"

#include "capture/session.h"
#include "traces/error.h"
#include "traces/output_file.h"
#include "traces/program.h"
#include "traces/trace.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <optional>

namespace lava {

namespace {

using Json = nlohmann::ordered_json;

/// What a trace says of itself, or nothing where it cannot be read.
std::optional<TraceInfo> existing(const std::filesystem::path& trace)
{
    try {
        return std::filesystem::exists(trace) ? std::optional(Trace(trace).info()) : std::nullopt;
    } catch (const Error&) {
        return std::nullopt;
    }
}

/// Whether a trace is what `job` would record.
bool is_of(const TraceInfo& found, const PreparedJob& job, bool repeat_pass)
{
    const TraceInfo& wanted = job.info;
    const auto& reference = job.evaluation.reference;
    return found.format_minor == wanted.format_minor && found.prompt_ids == wanted.prompt_ids
        && found.spans == wanted.spans && found.tokenization == wanted.tokenization
        && found.weights_sha256 == wanted.weights_sha256 && found.run_dtype == wanted.run_dtype
        && found.store_type == job.store.store && found.window == wanted.window && found.eval_len == wanted.eval_len
        && found.continuation == wanted.continuation && found.has_repeat_maxima == repeat_pass
        && (reference.empty() || found.eval_ids == reference);
}

Json entry_of(const PreparedJob& job, const TraceInfo& trace)
{
    auto spans = Json::array();
    for (const Span& span : trace.spans) {
        spans.push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end}});
    }
    std::string text;
    for (const std::string& piece : trace.eval_texts) {
        text += piece;
    }
    return {{"id", job.id}, {"trace", job.store.trace.filename().string()}, {"seq_len", trace.seq_len},
        {"window", trace.window}, {"eval_len", trace.eval_len}, {"continuation_source", trace.continuation},
        {"continuation", text}, {"spans", spans}};
}

void write_index(const std::filesystem::path& folder, const TraceInfo& info, const Json& traces, std::size_t total)
{
    const Json index = {{"format", "lava-index"}, {"generator", info.generator}, {"model", info.model_name},
        {"weights_sha256", info.weights_sha256}, {"prompts", total}, {"traces", traces}};
    write_text_file(folder / "index.json", index.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void make_folder(const std::filesystem::path& folder)
{
    std::error_code error;
    std::filesystem::create_directory(folder, error);
    if (!std::filesystem::is_directory(folder)) {
        throw Error(folder.string() + ": cannot be made: " + (error ? error.message() : "there is a file"));
    }
}

} // namespace

void capture_all(const CaptureOptions& options)
{
    const std::vector<CaptureJob> jobs = read_jobs(options.prompts_file);
    Session session(options, jobs);
    const std::vector<PreparedJob> prepared = session.prepare(jobs);
    std::vector<std::optional<TraceInfo>> infos;
    Forecast sizes;
    std::int64_t steps = 0;
    for (const PreparedJob& job : prepared) {
        auto found = existing(job.store.trace);
        if (found && !is_of(*found, job, options.repeat_pass)) {
            found.reset();
        }
        if (!found) {
            const Forecast one = session.forecast_of(job);
            sizes.trace += one.trace;
            sizes.weights = std::max(sizes.weights, one.weights);
            sizes.resume = std::max(sizes.resume, one.resume);
            steps += session.progress_of(job);
        }
        infos.push_back(std::move(found));
    }
    if (options.dry_run) {
        std::cout << to_string(sizes) << '\n';
        return;
    }
    make_folder(options.output);
    check_outputs(prepared.front().info, prepared.front().store);
    check_room(sizes, options.output / "index.json");
    std::cerr << "lava-capture: " << to_string(sizes) << '\n';

    std::optional<Progress> progress(std::in_place, "layers", steps);
    auto entries = Json::array();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < prepared.size(); ++i) {
        const bool is_there = infos[i].has_value();
        if (!is_there) {
            session.run(prepared[i], [&] { progress->step(); });
            infos[i] = Trace(prepared[i].store.trace).info();
        }
        kept += is_there ? 1 : 0;
        entries.push_back(entry_of(prepared[i], *infos[i]));
        write_index(options.output, prepared[i].info, entries, prepared.size());
    }
    progress.reset();
    std::cout << prepared.size() << " traces in " << options.output.string() << ", " << kept
              << " of them kept from before; " << (options.output / "index.json").string() << " lists them\n";
}

} // namespace lava
