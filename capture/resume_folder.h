#pragma once

#include "capture/layer_pass.h"
#include "traces/trace_info.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// What an unfinished capture keeps beside its trace, in TRACE.resume: a file for each finished layer, exactly as it
/// was in memory, and the residual streams before the next. Each file appears whole or not at all, so that a crash
/// costs no more than the layer at hand.
class ResumeFolder
{
public:
    /// Opens or makes the folder, for this process alone. `key` says all that the numbers depend on. Throws Error where
    /// the folder is of a capture with another key, or where another process works in it.
    ResumeFolder(std::filesystem::path folder, const TraceInfo& info, const std::string& key);
    ~ResumeFolder();
    ResumeFolder(const ResumeFolder&) = delete;
    ResumeFolder& operator=(const ResumeFolder&) = delete;

    std::int64_t layers_done() const { return done_; }
    /// A finished layer; its cache has room for the steps. Tensors are in the dtype and on the device of `like`.
    PassedLayer load(std::int64_t layer, const at::Tensor& like) const;
    std::vector<at::Tensor> streams() const;
    /// The layer after those that are done.
    void save(const LayerView& view, const std::vector<at::Tensor>& streams);
    /// Removes what a capture has put there, and the folder unless something else lies in it.
    void remove();

private:
    void lock();
    std::filesystem::path layer_file(std::int64_t layer) const;
    std::filesystem::path streams_file(std::int64_t layers_done) const;
    void check_key(const std::string& key) const;

    std::filesystem::path folder_;
    const TraceInfo& info_;
    std::int64_t done_ = 0;
    int lock_ = -1; ///< the folder, open and locked
};

} // namespace lava
