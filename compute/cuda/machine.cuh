#pragma once

#include "compute/cuda/launch.cuh"

#include <vector>

namespace lava::cuda {

/// Runs kernels on the current device's default stream, with memory of that device.
class DeviceMachine
{
public:
    template <typename T> class Array
    {
    public:
        Array() = default;
        explicit Array(std::int64_t count)
            : memory_(static_cast<std::size_t>(count) * sizeof(T))
            , size_(static_cast<std::size_t>(count))
        { }

        T* data() const { return static_cast<T*>(memory_.data()); }
        std::size_t size() const { return size_; }

    private:
        DeviceMemory memory_;
        std::size_t size_ = 0;
    };

    template <typename T> Array<T> make(std::int64_t count) const { return Array<T>(count); }
    template <typename T> Array<T> copy_in(const T* from, std::int64_t count) const
    {
        Array<T> array(count);
        copy_to_device(array.data(), from, array.size() * sizeof(T));
        return array;
    }
    template <typename T> Array<T> copy_in(const std::vector<T>& values) const
    {
        return copy_in(values.data(), static_cast<std::int64_t>(values.size()));
    }
    template <typename T> std::vector<T> copy_out(const Array<T>& array) const
    {
        std::vector<T> values(array.size());
        copy_to_host(values.data(), array.data(), array.size() * sizeof(T));
        return values;
    }
    template <typename Kernel> void launch(const Kernel& kernel) const { StreamLauncher(nullptr).launch(kernel); }
};

} // namespace lava::cuda
