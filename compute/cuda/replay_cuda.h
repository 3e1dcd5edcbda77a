#pragma once

#include "compute/device.h"

namespace lava::cuda {

// The functions of ReplayDevice on the calling thread's current CUDA device.

std::unique_ptr<LossEngine> make_losses(const LossInputs& inputs);
std::vector<float> window_means(const WindowInputs& inputs);
std::vector<std::uint32_t> descending_orders(const float* values, std::int64_t heads, std::int64_t count);

} // namespace lava::cuda
