#pragma once

#include "capture/recorder.h"
#include "model/decoder.h"
#include "tests/temporary_folder.h"
#include "tests/windowed_story_model.h"

#include <filesystem>
#include <random>

namespace lava::testing {

/// A folder for the traces of a test program.
inline const TemporaryFolder& story_folder()
{
    static const TemporaryFolder folder;
    return folder;
}

inline constexpr std::int64_t story_tokens = 150, story_steps = 7;

/// Records the small model over 150 tokens at random into `file`: 7 greedy steps, or a reference's. `model`: its
/// folder; `tokenization`: as in TraceInfo.
inline void record_story(const std::filesystem::path& file, const std::vector<std::int64_t>& reference = {},
    const std::filesystem::path& model = story_model, const std::string& tokenization = {})
{
    const Checkpoint checkpoint(model);
    const Decoder decoder(checkpoint, {});
    std::mt19937 random(5);
    std::vector<std::int64_t> prompt{1};
    while (std::ssize(prompt) < story_tokens)
        prompt.push_back(3 + static_cast<std::int64_t>(random() % 500));
    TraceInfo info;
    info.model_name = "stories260K";
    info.weights_sha256 = checkpoint.sha256();
    info.run_dtype = "float32";
    info.device = "cpu";
    info.tokenization = tokenization;
    info.prompt_ids = prompt;
    const Evaluation evaluation{.steps = story_steps, .reference = reference};
    RecordOptions options;
    options.window = 32;
    info = complete_info(info, decoder.config(), evaluation, options);
    record_trace(decoder, info, evaluation, options, {.trace = file, .weights = {}}, nullptr, [] {});
}

} // namespace lava::testing
