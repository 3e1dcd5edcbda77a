#pragma once

#include "compute/device.h"

namespace lava::cuda {

/// The calling thread's current CUDA device. Throws Error where there is none, or no kernels in this program.
const Device& cuda_device();

} // namespace lava::cuda
