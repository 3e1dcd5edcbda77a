#pragma once

// Kernels as compute/cuda/block.h has them, on a GPU. Only .cu files include this.

#include "compute/cuda/block.h"
#include "compute/cuda/device.h"

#include "base/error.h"

#include <cuda_runtime.h>

#include <limits>
#include <string>

namespace lava::cuda {

inline void check(cudaError_t status, const char* what)
{
    if (status != cudaSuccess) {
        throw Error("CUDA: " + std::string(what) + ": " + cudaGetErrorString(status));
    }
}

class DeviceBlock
{
public:
    explicit __device__ DeviceBlock(unsigned char* shared)
        : shared_(shared)
    { }

    __device__ std::int64_t index() const { return blockIdx.x; }
    __device__ int thread() const { return static_cast<int>(threadIdx.x); }
    __device__ void sync() const { __syncthreads(); }
    __device__ unsigned char* shared() const { return shared_; }

private:
    unsigned char* shared_;
};

template <typename Kernel> __global__ void __launch_bounds__(Kernel::threads) run_kernel(const Kernel kernel)
{
    extern __shared__ __align__(128) unsigned char shared[];
    kernel(DeviceBlock(shared));
}

/// Launches kernels on a stream of the current device.
class StreamLauncher
{
public:
    explicit StreamLauncher(Stream stream)
        : stream_(stream)
    { }

    template <typename Kernel> void launch(const Kernel& kernel) const
    {
        constexpr std::size_t always_granted = 48 * 1024;
        const std::int64_t blocks = kernel.blocks();
        const std::size_t bytes = kernel.shared_bytes();
        if (blocks == 0) {
            return;
        }
        if (blocks > std::numeric_limits<std::int32_t>::max()) {
            throw Error("CUDA: a launch of " + std::to_string(blocks) + " blocks, expected fewer than 2^31");
        }
        if (bytes > always_granted) {
            check(cudaFuncSetAttribute(
                      run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
                "shared memory of a block");
        }
        run_kernel<<<static_cast<unsigned>(blocks), Kernel::threads, bytes, stream_>>>(kernel);
        check(cudaGetLastError(), "launch");
    }

private:
    Stream stream_;
};

} // namespace lava::cuda
