#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace lava {

/// An array of a NumPy file (.npy), row major.
struct NpyArray
{
    std::vector<std::int64_t> shape;
    std::vector<double> values;
};

/// Reads little-endian floats of 2, 4 or 8 bytes in C order (format versions 1 to 3). Throws Error naming the file,
/// expected and found.
NpyArray read_npy(const std::filesystem::path& file);

/// Writes float32, format version 1, by way of an OutputFile. Throws Error.
void write_npy(const std::filesystem::path& file, const NpyArray& array);

} // namespace lava
