#include "capture/session.h"

#include "base/error.h"
#include "base/program.h"
#include "compute/devices.h"
#include "traces/recorded_part.h"

#include <iostream>

namespace lava {

namespace {

std::unique_ptr<Tokenizer> open_tokenizer(const CaptureOptions& options, const std::vector<CaptureJob>& jobs)
{
    try {
        return read_tokenizer(options.model);
    } catch (const Error& error) {
        if (options.repeat_pass || needs_tokenizer(jobs)) {
            throw;
        }
        std::cerr << "lava-capture: note: the trace has no token texts: " << error.what() << '\n';
        return nullptr;
    }
}

/// The folder's name; of a snapshot in the hub's cache, models--ORG--NAME/snapshots/HASH, ORG/NAME.
std::string model_name(const std::filesystem::path& folder)
{
    const auto real = std::filesystem::canonical(folder);
    const std::string hub = real.parent_path().parent_path().filename().string();
    constexpr std::string_view prefix = "models--", separator = "--";
    const auto cut = hub.find(separator, prefix.size());
    if (real.parent_path().filename() != "snapshots" || !hub.starts_with(prefix) || cut == std::string::npos) {
        return real.filename().string();
    }
    return hub.substr(prefix.size(), cut - prefix.size()) + "/" + hub.substr(cut + separator.size());
}

StoreType store_type(const CaptureOptions& options, const std::string& run_dtype)
{
    if (options.store) {
        return *options.store;
    }
    return run_dtype == "float16" ? StoreType::f16 : run_dtype == "bfloat16" ? StoreType::bf16 : StoreType::f32;
}

/// `work`'s result; what it throws names the prompt that was at fault.
template <typename Work> auto at_job(const CaptureJob& job, const Work& work)
{
    try {
        return work();
    } catch (const Error& error) {
        if (job.where.empty() || std::string_view(error.what()).starts_with(job.where)) {
            throw;
        }
        throw Error(job.where + ": " + error.what());
    }
}

} // namespace

Session::Session(const CaptureOptions& options, const std::vector<CaptureJob>& jobs)
    : options_(options)
    , checkpoint_(options.model)
    , tokenizer_(open_tokenizer(options, jobs))
{
    record_.window = options.window;
    record_.chunk = options.chunk;
    record_.part = options.part;
    devices_of_layers(parse_devices(options.device), checkpoint_.config().shape.num_layers); // before much is read
    run_ = with_dtype({.device = options.device, .dtype = options.dtype}, checkpoint_.config());
    if (options.repeat_pass) {
        record_.repeat = repeat_texts(*tokenizer_);
    }
}

std::vector<PreparedJob> Session::prepare(const std::vector<CaptureJob>& jobs) const
{
    std::vector<PreparedJob> prepared;
    for (const CaptureJob& job : jobs) {
        const auto [prompt, evaluation] = at_job(job, [&] {
            std::pair<Prompt, Evaluation> pair{prompt_of(job), evaluation_of(job)};
            check_prompt(checkpoint_.config(), pair.first, pair.second, record_.repeat);
            return pair;
        });
        TraceInfo info = complete_info(info_of(prompt), checkpoint_.config(), evaluation, record_);
        const StoreOptions store = store_of(job, info);
        prepared.push_back({job.id, evaluation, std::move(info), store});
    }
    return prepared;
}

void Session::digest(std::vector<PreparedJob>& jobs) const
{
    const std::string sha256 = checkpoint_.sha256();
    for (PreparedJob& job : jobs) {
        job.info.weights_sha256 = sha256;
    }
}

void Session::load()
{
    decoder_ = std::make_unique<Decoder>(checkpoint_, run_);
}

Prompt Session::prompt_of(const CaptureJob& job) const
{
    return build_prompt(tokenizer_.get(), job.request);
}

Evaluation Session::evaluation_of(const CaptureJob& job) const
{
    Evaluation evaluation{.steps = options_.continue_steps, .reference = {}};
    if (const auto* ids = std::get_if<std::vector<std::int64_t>>(&job.reference)) {
        evaluation.reference = *ids;
    } else if (const auto* text = std::get_if<std::string>(&job.reference)) {
        evaluation.reference = tokenizer_->encode(*text, false).ids;
    }
    if (job.reference.index() != 0 && evaluation.reference.empty()) {
        throw Error("--reference: expected a text, found an empty one");
    }
    return evaluation;
}

TraceInfo Session::info_of(const Prompt& prompt) const
{
    TraceInfo info;
    info.generator = "lava-capture " + std::string(version());
    info.model_name = model_name(options_.model);
    info.model_config = checkpoint_.config().text;
    info.device = run_.device;
    info.run_dtype = run_.dtype;
    info.tokenization = prompt.tokenization;
    info.prompt_ids = prompt.ids;
    info.prompt_texts = prompt.texts;
    info.spans = prompt.spans;
    return info;
}

StoreOptions Session::store_of(const CaptureJob& job, const TraceInfo& info) const
{
    StoreOptions store;
    store.trace = job.id.empty() ? options_.output : options_.output / (job.id + ".h5");
    if (!options_.embed_weights && !is_part(info)) { // a weights file holds all of a model
        store.weights
            = store.trace.parent_path() / (std::filesystem::path(info.model_name).filename().string() + ".weights.h5");
    }
    store.store = store_type(options_, info.run_dtype);
    store.deflate = options_.deflate;
    store.resume = options_.resume;
    return store;
}

Forecast Session::forecast_of(const PreparedJob& job) const
{
    const ModelConfig& config = checkpoint_.config();
    return forecast(job.info, config.shape, record_, job.store, config.output_bias);
}

std::int64_t Session::progress_of(const PreparedJob& job) const
{
    return progress_steps(checkpoint_.config(), job.evaluation);
}

void Session::run(const PreparedJob& job, const std::function<void()>& on_step) const
{
    record_trace(*decoder_, job.info, job.evaluation, record_, job.store, tokenizer_.get(), on_step);
}

} // namespace lava
