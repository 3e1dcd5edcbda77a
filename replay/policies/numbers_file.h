#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace lava {

/// An array that a policy reads from a file.
class NumbersFile
{
public:
    /// .npy (float16, float32 or float64, little-endian, in C order), .json (nested lists), otherwise
    /// rows of text separated by tabs, commas or spaces. Throws Error naming the file where it cannot be read or a
    /// number is not finite.
    explicit NumbersFile(std::string file);

    const std::string& file() const { return file_; }

    /// float64 of that shape. Throws Error naming file, expected and found.
    const at::Tensor& of_shape(at::IntArrayRef shape) const;

private:
    std::string file_;
    at::Tensor numbers_;
};

} // namespace lava
