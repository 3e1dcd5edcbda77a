#include "compute/device.h"

#include "base/error.h"
#include "compute/cuda/cuda_device.h"

namespace lava {

const Device& device_of(const std::string& name)
{
    if (name == "cpu") {
        return cpu_device();
    }
    if (name == "cuda") {
        return cuda::cuda_device();
    }
    throw UsageError("--device: expected cpu or cuda, found '" + name + "'");
}

} // namespace lava
