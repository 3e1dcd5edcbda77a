#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>

namespace lava {

/// What scores are computed in: fp32, or rounded to a model's type wherever the released codes hold a tensor in it
/// (products, softmax, reductions, norms; sums inside one reduction stay fp32). Keys, values and queries too.
enum class Precision
{
    fp32,
    bf16,
    fp16
};

/// fp32, emulate_bf16 or emulate_fp16
Precision parse_precision(std::string_view name);

/// The nearest numbers of the type, ties to even, as fp32; the tensor itself for fp32.
at::Tensor rounded(const at::Tensor& x, Precision precision);
float rounded(float x, Precision precision);

} // namespace lava
