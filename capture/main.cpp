#include "capture/options.h"
#include "capture/prompts.h"
#include "capture/recorder.h"
#include "capture/summary.h"
#include "model/decoder.h"
#include "model/tokenizer.h"
#include "traces/error.h"
#include "traces/output_file.h"
#include "traces/program.h"
#include "traces/trace.h"

#include <ATen/Parallel.h>

#include <array>
#include <iostream>
#include <optional>

namespace lava {

namespace {

/// The folder's tokenizer; null, with a note, where it cannot be read and nothing but its texts is wanted of it.
std::unique_ptr<Tokenizer> open_tokenizer(const CaptureOptions& options)
{
    try {
        return read_tokenizer(options.model);
    } catch (const Error& error) {
        const bool ids_only = !options.ids_file.empty() && options.answer_prefix.empty()
            && (options.reference_file.empty() || options.reference_file.extension() == ".json");
        if (!ids_only) {
            throw;
        }
        std::cerr << "lava-capture: note: the trace has no token texts: " << error.what() << '\n';
        return nullptr;
    }
}

PromptRequest request_of(const CaptureOptions& options)
{
    PromptRequest request;
    request.chat = options.chat;
    request.answer_prefix = options.answer_prefix;
    if (!options.ids_file.empty()) {
        request.source = read_ids(options.ids_file);
    } else if (!options.haystack_file.empty()) {
        NeedleRequest needle = options.needle;
        needle.haystack = read_text(options.haystack_file);
        request.source = needle;
    } else {
        request.source = options.prompt ? *options.prompt : read_text(options.prompt_file);
    }
    if (!options.spans_file.empty()) {
        request.spans = read_spans(options.spans_file);
    }
    return request;
}

Evaluation evaluation_of(const CaptureOptions& options, const Tokenizer* tokenizer)
{
    Evaluation evaluation{.steps = options.continue_steps, .reference = {}};
    if (options.reference_file.empty()) {
        return evaluation;
    }
    evaluation.reference = options.reference_file.extension() == ".json"
        ? read_ids(options.reference_file)
        : tokenizer->encode(read_text(options.reference_file), false).ids;
    if (evaluation.reference.empty()) {
        throw Error(options.reference_file.string() + ": expected a text, found an empty one");
    }
    return evaluation;
}

std::string model_name(const std::filesystem::path& folder)
{
    return std::filesystem::canonical(folder).filename().string();
}

StoreType store_type(const CaptureOptions& options, const std::string& run_dtype)
{
    if (options.store) {
        return *options.store;
    }
    return run_dtype == "float16" ? StoreType::f16 : run_dtype == "bfloat16" ? StoreType::bf16 : StoreType::f32;
}

/// What is known before the model runs.
TraceInfo info_of(
    const CaptureOptions& options, const Checkpoint& checkpoint, const DecoderOptions& run, const Prompt& prompt)
{
    TraceInfo info;
    info.generator = "lava-capture " + std::string(version());
    info.model_name = model_name(options.model);
    info.model_config = checkpoint.config().text;
    info.weights_sha256 = checkpoint.sha256();
    info.device = run.device;
    info.run_dtype = run.dtype;
    info.tokenization = prompt.tokenization;
    info.prompt_ids = prompt.ids;
    info.prompt_texts = prompt.texts;
    info.spans = prompt.spans;
    return info;
}

StoreOptions store_options(const CaptureOptions& options, const TraceInfo& info)
{
    std::filesystem::path weights;
    if (!options.embed_weights) {
        weights = options.output.parent_path() / (info.model_name + ".weights.h5");
    }
    return {options.output, weights, store_type(options, info.run_dtype)};
}

void print_summary(const CaptureOptions& options, const StoreOptions& store)
{
    const TraceInfo written = Trace(store.trace).info();
    std::cout << (options.json ? summary_json(written, store.weights) : summary_text(written, store.weights));
}

int capture(const CaptureOptions& options)
{
    if (options.threads > 0) {
        at::set_num_threads(options.threads);
    }
    const std::array inputs{
        options.prompt_file, options.ids_file, options.haystack_file, options.spans_file, options.reference_file};
    refuse_same_file(options.output, inputs);
    const Checkpoint checkpoint(options.model);
    const auto tokenizer = open_tokenizer(options);
    const Prompt prompt = build_prompt(tokenizer.get(), request_of(options));
    const Evaluation evaluation = evaluation_of(options, tokenizer.get());
    check_prompt(checkpoint.config(), prompt, evaluation);

    Decoder decoder(checkpoint, {.device = options.device, .dtype = options.dtype});
    TraceInfo info = info_of(options, checkpoint, decoder.options(), prompt);
    const StoreOptions store = store_options(options, info);
    check_outputs(checkpoint.config(), info, store);

    const std::int64_t passes = 2 + (evaluation.reference.empty() ? evaluation.steps : 1); // the prompt, writing
    std::optional<Progress> progress(std::in_place, "layers", passes * checkpoint.config().shape.num_layers);
    decoder.on_layer = [&](std::int64_t, std::int64_t) { progress->step(); };
    const Recording recording = record(decoder, prompt.ids, evaluation, options.window);
    if (!recording.eval_ids.empty()) {
        info.continuation = evaluation.reference.empty() ? "greedy" : "reference";
    }
    if (tokenizer != nullptr) {
        info.eval_texts = token_texts(*tokenizer, recording.eval_ids);
    }
    write_recording(decoder, recording, info, store, [&] { progress->step(); });
    progress.reset();
    print_summary(options, store);
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
