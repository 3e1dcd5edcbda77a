#include "compute/device.h"

#include "base/error.h"

#ifdef LAVA_WITH_CUDA
#include "compute/cuda/device.h"
#include "compute/cuda/replay_cuda.h"
#endif

namespace lava {

namespace {

const ReplayDevice* cuda_device()
{
#ifdef LAVA_WITH_CUDA
    if (cuda::device_count() == 0) {
        throw Error("--device cuda: expected a CUDA device and its driver, found none on this machine");
    }
    static const ReplayDevice device{cuda::make_losses, cuda::window_means, cuda::descending_orders};
    return &device;
#else
    throw Error("--device cuda: this program was built without CUDA kernels, which takes a CUDA compiler (nvcc)");
#endif
}

} // namespace

const ReplayDevice* replay_device(const std::string& name)
{
    if (name == "cpu") {
        return nullptr;
    }
    if (name == "cuda") {
        return cuda_device();
    }
    throw UsageError("--device: expected cpu or cuda, found '" + name + "'");
}

} // namespace lava
