#pragma once

#include "capture/forecast.h"
#include "capture/jobs.h"
#include "capture/options.h"
#include "capture/recorder.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lava {

/// A prompt that is ready to be run.
struct PreparedJob
{
    std::string id;
    Evaluation evaluation;
    TraceInfo info; ///< as complete_info() gives it
    StoreOptions store;
};

/// A model, loaded once, and the options under which prompts are captured.
class Session
{
public:
    /// Reads the model's files; loads no weights yet. Throws Error where they cannot be used for `jobs`.
    Session(const CaptureOptions& options, const std::vector<CaptureJob>& jobs);

    /// Tokenizes and checks each prompt. A prompt that the model cannot take is an Error before any is run.
    std::vector<PreparedJob> prepare(const std::vector<CaptureJob>& jobs) const;
    /// Reads all weights once for their digest, which `jobs` get. Whatever can be refused without a model is refused
    /// between this and load().
    void digest(std::vector<PreparedJob>& jobs) const;
    void load(); ///< the weights, for run()

    Forecast forecast_of(const PreparedJob& job) const;
    std::int64_t progress_of(const PreparedJob& job) const; ///< how often run() will call `on_step`
    /// Runs the model and writes the trace.
    void run(const PreparedJob& job, const std::function<void()>& on_step) const;

private:
    Prompt prompt_of(const CaptureJob& job) const;
    Evaluation evaluation_of(const CaptureJob& job) const;
    TraceInfo info_of(const Prompt& prompt) const;
    StoreOptions store_of(const CaptureJob& job, const TraceInfo& info) const;

    const CaptureOptions& options_;
    Checkpoint checkpoint_;
    std::unique_ptr<Tokenizer> tokenizer_; ///< null where nothing but its texts would be wanted and it cannot be read
    RecordOptions record_;
    DecoderOptions run_; ///< device and dtype
    std::unique_ptr<Decoder> decoder_; ///< null before load()
};

} // namespace lava
