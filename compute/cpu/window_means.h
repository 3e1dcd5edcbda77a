#pragma once

#include "compute/device.h"

namespace lava {

/// Device::window_means() of this processor. The attention itself is only held of as many KV heads as there are
/// threads.
void window_means_on_cpu(const WindowInputs& inputs, int threads, float* means);

} // namespace lava
