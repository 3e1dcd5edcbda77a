#pragma once

#include "model/config.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lava {

/// The weights of a Hugging Face folder, memory mapped: model.safetensors, or the shards that
/// model.safetensors.index.json lists. Their headers are checked whole before use: lengths, dtypes, shapes, offsets
/// inside the file, without gaps and not overlapping; and that the index says of each tensor where it is.
class Checkpoint
{
public:
    /// Throws Error naming file, tensor, expected and found.
    explicit Checkpoint(const std::filesystem::path& folder);

    const ModelConfig& config() const { return config_; }
    bool has(const std::string& name) const;
    std::vector<std::string> names() const; ///< of all tensors, sorted
    /// The tensor in its stored dtype, which must be a floating-point one; it must have exactly `shape`. It is a view
    /// into the mapped file (read only!) and keeps the mapping alive. Nothing of the file is read yet.
    at::Tensor tensor(const std::string& name, std::span<const std::int64_t> shape) const;
    /// Throws Error where a tensor that tensor() gave out holds NaN or infinity. Reads it whole.
    void require_finite(const std::string& name) const;
    /// SHA-256 of model.safetensors, lower-case hex. Of shards: what `sha256sum *.safetensors | sha256sum` prints in a
    /// folder that holds only them, the SHA-256 of a line "hash, two spaces, file name" for each, sorted by file name.
    /// Reads them whole.
    std::string sha256() const;

private:
    struct Contents;
    std::shared_ptr<const Contents> contents_;
    ModelConfig config_;
};

} // namespace lava
