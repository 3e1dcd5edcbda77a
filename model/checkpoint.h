#pragma once

#include "model/config.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lava {

/// The weights of a Hugging Face folder (model.safetensors), memory mapped. The header is checked whole before use:
/// lengths, dtypes, shapes, offsets inside the file, without gaps and not overlapping.
class Checkpoint
{
public:
    /// Throws Error naming file, tensor, expected and found.
    explicit Checkpoint(const std::filesystem::path& folder);

    const ModelConfig& config() const { return config_; }
    bool has(const std::string& name) const;
    /// The tensor in its stored dtype, which must be a floating-point one; it must have exactly `shape`. It is a view
    /// into the mapped file (read only!) and keeps the mapping alive.
    at::Tensor tensor(const std::string& name, std::span<const std::int64_t> shape) const;
    /// SHA-256 of model.safetensors, lower-case hex. Reads the whole file.
    std::string sha256() const;

private:
    struct Contents;
    std::shared_ptr<const Contents> contents_;
    ModelConfig config_;
};

} // namespace lava
