#pragma once

#include <ATen/core/Tensor.h>

namespace lava {

/// x [..., in] times weight [out, in] transposed, plus bias [out] where it is defined: [..., out]. On the CPU in
/// float32 it takes oneDNN's kernel, twice as fast as at::linear's on machines where MKL has no AVX-512 path, where
/// this LibTorch has it.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

} // namespace lava
