#include "capture/bulk.h"

#include "base/json_text.h"
#include "base/output_file.h"
#include "base/program.h"
#include "capture/existing_trace.h"
#include "capture/outputs.h"
#include "capture/session.h"
#include "traces/trace.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>
#include <optional>

namespace lava {

namespace {

using Json = nlohmann::ordered_json;

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
    Json entry = {{"id", job.id}, {"trace", job.store.trace.filename().string()}, {"seq_len", trace.seq_len},
        {"window", trace.window}, {"eval_len", trace.eval_len}, {"continuation_source", trace.continuation},
        {"continuation", text}, {"spans", spans}};
    refuse_deep_json(trace.tokenization, job.store.trace.string() + ": /tokens: tokenization");
    if (const Json said = Json::parse(trace.tokenization, nullptr, false); said.contains("scoring")) {
        entry["scoring"] = said["scoring"];
    }
    return entry;
}

void write_index(const std::filesystem::path& folder, const TraceInfo& info, const Json& traces, std::size_t total)
{
    const Json index = {{"format", "lava-index"}, {"generator", info.generator}, {"model", info.model_name},
        {"weights_sha256", info.weights_sha256}, {"prompts", total}, {"traces", traces}};
    write_text_file(folder / "index.json", index.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

/// What is kept and what is made, for each job.
struct Plan
{
    std::vector<std::optional<TraceInfo>> kept;
    Forecast sizes; ///< of what is made
    std::int64_t steps = 0; ///< on the way
    std::size_t to_make = 0;
};

/// `verify`: a trace that does not verify is made again, too.
Plan plan_of(const CaptureOptions& options, const Session& session, const std::vector<PreparedJob>& jobs, bool verify)
{
    const auto indexed = indexed_traces(options.output);
    Plan plan;
    for (const PreparedJob& job : jobs) {
        ExistingTrace found = existing_trace(job, options.repeat_pass, indexed);
        if (found.kept && verify) {
            found.fault = verify_fault(job.store.trace);
        }
        if (!found.fault.empty()) {
            found.kept.reset();
            std::cerr << "lava-capture: note: " << job.store.trace.string() << " is made again: " << found.fault
                      << '\n';
        }
        if (!found.kept) {
            const Forecast one = session.forecast_of(job);
            plan.sizes.trace += one.trace;
            plan.sizes.weights = std::max(plan.sizes.weights, one.weights);
            plan.sizes.resume = std::max(plan.sizes.resume, one.resume);
            plan.steps += session.progress_of(job);
            ++plan.to_make;
        }
        plan.kept.push_back(std::move(found.kept));
    }
    return plan;
}

/// Makes what is not kept, and the index.
void make_traces(
    const CaptureOptions& options, const Session& session, const std::vector<PreparedJob>& jobs, const Plan& plan)
{
    Progress progress("layers", plan.steps);
    auto entries = Json::array();
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (!plan.kept[i]) {
            session.run(jobs[i], [&] { progress.step(); });
        }
        entries.push_back(entry_of(jobs[i], plan.kept[i] ? *plan.kept[i] : Trace(jobs[i].store.trace).info()));
        write_index(options.output, jobs[i].info, entries, jobs.size());
    }
}

} // namespace

void capture_all(const CaptureOptions& options)
{
    const std::vector<CaptureJob> jobs = read_jobs(options.prompts_file);
    Session session(options, jobs);
    std::vector<PreparedJob> prepared = session.prepare(jobs);
    refuse_overwriting(options, prepared);
    check_folder(options.output, false);
    if (!options.dry_run) {
        session.digest(prepared);
    }
    const Plan plan = plan_of(options, session, prepared, !options.dry_run);
    check_folder(options.output, !options.dry_run);
    check_room(
        plan.sizes, std::filesystem::is_directory(options.output) ? options.output / "index.json" : options.output);
    if (options.dry_run) {
        std::cout << to_string(plan.sizes) << '\n';
        return;
    }
    check_outputs(prepared.front().info, prepared.front().store);
    std::cerr << "lava-capture: " << to_string(plan.sizes) << '\n';
    if (plan.to_make > 0) {
        session.load();
    }
    make_traces(options, session, prepared, plan);
    std::cout << prepared.size() << " traces in " << options.output.string() << ", " << prepared.size() - plan.to_make
              << " of them kept from before; " << (options.output / "index.json").string() << " lists them\n";
}

} // namespace lava
