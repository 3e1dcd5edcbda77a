#include "compute/cuda/cuda_device.h"

#include "compute/cuda/machine.cuh"
#include "compute/cuda/machine_device.h"

namespace lava::cuda {

const Device& cuda_device()
{
    if (device_count() == 0) {
        throw Error("--device cuda: expected a CUDA device and its driver, found none on this machine");
    }
    static const MachineDevice<DeviceMachine> device{DeviceMachine()};
    return device;
}

} // namespace lava::cuda
