#pragma once

#include "model/config.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lava {

/// The weights of a Hugging Face folder (model.safetensors), memory mapped. The header is checked whole before use:
/// lengths, dtypes, shapes, offsets inside the file and not overlapping.
class Checkpoint
{
public:
    /// Throws Error naming file, tensor, expected and found.
    explicit Checkpoint(const std::filesystem::path& folder);
    ~Checkpoint();
    Checkpoint(Checkpoint&&) noexcept;

    const ModelConfig& config() const { return config_; }
    bool has(const std::string& name) const;
    /// A view into the mapped file in the stored dtype; it must have exactly `shape`, and the Checkpoint must outlive
    /// it.
    at::Tensor tensor(const std::string& name, std::span<const std::int64_t> shape) const;
    /// SHA-256 of model.safetensors, lower-case hex; computed on the first call.
    std::string sha256() const;

private:
    struct Mapping;
    std::unique_ptr<Mapping> mapping_;
    ModelConfig config_;
};

} // namespace lava
