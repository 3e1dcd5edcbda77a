#pragma once

#include <ATen/core/Tensor.h>

namespace lava {

/// Whether the CPU's inner loops can work on it: contiguous float32 on the CPU.
inline bool is_plain(const at::Tensor& x)
{
    return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

} // namespace lava
