#include "compute/cuda/device.h"

#include "compute/cuda/launch.cuh"

#include <utility>

namespace lava::cuda {

int device_count()
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError(); // no driver is no error here
        return 0;
    }
    return count;
}

std::string device_name(int device)
{
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "properties of the device");
    return properties.name;
}

DeviceMemory::DeviceMemory(std::size_t bytes)
    : bytes_(bytes)
{
    if (bytes > 0) {
        check(cudaMalloc(&data_, bytes), (std::to_string(bytes) + " bytes of device memory").c_str());
    }
}

DeviceMemory::~DeviceMemory()
{
    (void)cudaFree(data_); // also of null; an error is one of an earlier launch, and was thrown there
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr))
    , bytes_(std::exchange(other.bytes_, 0))
{ }

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept
{
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

void copy_to_device(void* to, const void* from, std::size_t bytes)
{
    check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copy to the device");
}

void copy_to_host(void* to, const void* from, std::size_t bytes)
{
    check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "copy from the device");
}

void synchronize()
{
    check(cudaDeviceSynchronize(), "kernels");
}

CurrentDevice::CurrentDevice(int device)
{
    check(cudaGetDevice(&before_), "current device");
    check(cudaSetDevice(device), "choice of a device");
}

CurrentDevice::~CurrentDevice()
{
    (void)cudaSetDevice(before_);
}

} // namespace lava::cuda
