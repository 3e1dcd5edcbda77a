// What stands for the kernels in a program that was built without a CUDA compiler.

#include "base/error.h"
#include "compute/cuda/cuda_device.h"
#include "compute/cuda/device_attention.h"

namespace lava {

namespace {

[[noreturn]] void refuse()
{
    throw Error("--device cuda: this program was built without CUDA kernels, which takes a CUDA compiler (nvcc)");
}

} // namespace

bool runs_on_device(const at::Tensor&)
{
    return false;
}

AttentionResult device_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, std::int64_t)
{
    refuse();
}

const Device& cuda::cuda_device()
{
    refuse();
}

} // namespace lava
