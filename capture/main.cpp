#include "base/error.h"
#include "base/program.h"
#include "capture/bulk.h"
#include "capture/options.h"
#include "capture/outputs.h"
#include "capture/session.h"
#include "capture/summary.h"
#include "traces/trace.h"

#include <ATen/Parallel.h>

#include <iostream>
#include <optional>

#include <unistd.h>

namespace lava {

namespace {

/// The prompt of the command line.
CaptureJob job_of(const CaptureOptions& options)
{
    CaptureJob job;
    job.request.chat = options.chat;
    job.request.answer_prefix = options.answer_prefix;
    if (!options.ids_file.empty()) {
        job.request.source = read_ids(options.ids_file);
    } else if (!options.haystack_file.empty()) {
        NeedleRequest needle = options.needle;
        needle.haystack = read_text(options.haystack_file);
        job.request.source = needle;
    } else {
        job.request.source = options.prompt ? *options.prompt : read_text(options.prompt_file);
    }
    if (!options.spans_file.empty()) {
        job.request.spans = read_spans(options.spans_file);
    }
    if (options.reference_file.extension() == ".json") {
        job.reference = read_ids(options.reference_file);
    } else if (!options.reference_file.empty()) {
        job.reference = read_text(options.reference_file);
    }
    return job;
}

void print_summary(const CaptureOptions& options, const StoreOptions& store)
{
    const TraceInfo written = Trace(store.trace).info();
    std::cout << (options.json ? summary_json(written, store.weights) : summary_text(written, store.weights));
}

void capture_one(const CaptureOptions& options)
{
    const std::vector<CaptureJob> jobs{job_of(options)};
    Session session(options, jobs);
    std::vector<PreparedJob> prepared = session.prepare(jobs);
    const PreparedJob& job = prepared.front();
    refuse_overwriting(options, prepared);
    const Forecast sizes = session.forecast_of(job);
    check_place(job.store.trace, sizes);
    if (options.dry_run) {
        std::cout << to_string(sizes) << '\n';
        return;
    }
    session.digest(prepared);
    check_outputs(job.info, job.store);
    session.load();
    if (::isatty(STDERR_FILENO) != 0) { // like progress, for who watches
        std::cerr << "lava-capture: " << to_string(sizes) << '\n';
    }
    std::optional<Progress> progress(std::in_place, "layers", session.progress_of(job));
    session.run(job, [&] { progress->step(); });
    progress.reset();
    print_summary(options, job.store);
}

int capture(const CaptureOptions& options)
{
    if (options.threads > 0) {
        at::set_num_threads(options.threads);
    }
    if (options.prompts_file.empty()) {
        capture_one(options);
    } else {
        capture_all(options);
    }
    return 0;
}

} // namespace

} // namespace lava

int main(int argc, char** argv)
{
    return lava::run_program("lava-capture", [&] {
        const auto options = lava::parse_options(argc, argv);
        return options ? lava::capture(*options) : 0;
    });
}
