#include "capture/outputs.h"

#include "base/error.h"
#include "base/output_file.h"
#include "base/output_guard.h"

#include <set>

#include <unistd.h>

namespace lava {

namespace {

std::vector<std::filesystem::path> inputs_of(const CaptureOptions& options)
{
    std::vector<std::filesystem::path> inputs{options.prompt_file, options.ids_file, options.prompts_file,
        options.haystack_file, options.spans_file, options.reference_file};
    const auto model = files_of_model(options.model);
    inputs.insert(inputs.end(), model.begin(), model.end());
    return inputs;
}

} // namespace

void refuse_overwriting(const CaptureOptions& options, const std::vector<PreparedJob>& jobs)
{
    std::set<std::filesystem::path> weights; // weights files, each once: all jobs may share one
    std::vector<std::filesystem::path> outputs;
    for (const PreparedJob& job : jobs) {
        if (!job.store.weights.empty() && weights.insert(job.store.weights).second) {
            outputs.push_back(job.store.weights);
        }
    }
    if (!options.prompts_file.empty()) {
        outputs.push_back(options.output / "index.json");
    }
    for (const PreparedJob& job : jobs) {
        outputs.push_back(job.store.trace);
    }
    refuse_same_files(outputs, inputs_of(options));
}

void check_folder(const std::filesystem::path& folder, bool make)
{
    std::error_code error;
    if (make) {
        std::filesystem::create_directory(folder, error);
    }
    const bool is_there = std::filesystem::exists(folder);
    if (is_there ? !std::filesystem::is_directory(folder) : make) {
        throw Error(folder.string() + ": cannot be made: " + (error ? error.message() : "there is a file"));
    }
    const auto place = is_there ? folder : std::filesystem::absolute(folder / "").parent_path().parent_path();
    if (!std::filesystem::is_directory(place)) {
        throw Error(folder.string() + ": cannot be made: there is no folder " + place.string());
    }
    if (::access(place.c_str(), W_OK | X_OK) != 0) {
        throw Error(folder.string() + ": cannot be written: " + std::generic_category().message(errno));
    }
}

void check_place(const std::filesystem::path& trace, const Forecast& sizes)
{
    {
        const OutputFile writable(trace);
    }
    check_room(sizes, trace);
}

} // namespace lava
