#pragma once

// CUDA devices in plain C++: no CUDA header is needed by who includes this.

#include <cstddef>
#include <cstdint>
#include <string>

struct CUstream_st; // what cudaStream_t points to

namespace lava::cuda {

using Stream = CUstream_st*; ///< null: the device's default stream

/// 0 where there is none, or no driver.
int device_count();

/// Throws Error where there is no such device.
std::string device_name(int device);

/// Memory of the current device. Throws Error where there is too little.
class DeviceMemory
{
public:
    DeviceMemory() = default;
    explicit DeviceMemory(std::size_t bytes);
    ~DeviceMemory();
    DeviceMemory(DeviceMemory&& other) noexcept;
    DeviceMemory& operator=(DeviceMemory&& other) noexcept;

    void* data() const { return data_; }
    std::size_t size() const { return bytes_; }

private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

/// Copies wait until the device has done what was asked of it before. Throw Error.
void copy_to_device(void* to, const void* from, std::size_t bytes);
void copy_to_host(void* to, const void* from, std::size_t bytes);
/// Waits for the device. Throws Error where something that ran on it failed.
void synchronize();

/// Makes a device the calling thread's current one; the one before comes back at the end.
class CurrentDevice
{
public:
    explicit CurrentDevice(int device);
    ~CurrentDevice();
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_ = 0;
};

} // namespace lava::cuda
