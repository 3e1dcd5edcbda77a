#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// One entry of a safetensors header.
struct StoredTensor
{
    std::string dtype; ///< "F32", "F16", "BF16", ...
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes; ///< inside the file
};

/// Reads the header of a safetensors file that lies in `file` (the format: u64 length, JSON header, the tensors back to
/// back) and checks it whole: nothing in it is trusted. Throws Error naming `name`, the tensor, expected and found.
std::map<std::string, StoredTensor> read_safetensors(std::span<const std::byte> file, std::string_view name);

} // namespace lava
