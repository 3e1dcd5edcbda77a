#include "compute/cuda/replay_cuda.h"

#include "compute/cuda/machine.cuh"
#include "compute/cuda/machine_functions.h"

namespace lava::cuda {

std::unique_ptr<LossEngine> make_losses(const LossInputs& inputs)
{
    return std::unique_ptr<LossEngine>(new LayerLosses<DeviceMachine>(DeviceMachine(), inputs));
}

std::vector<float> window_means(const WindowInputs& inputs)
{
    return window_means_on(DeviceMachine(), inputs);
}

std::vector<std::uint32_t> descending_orders(const float* values, std::int64_t heads, std::int64_t count)
{
    return descending_orders_on(DeviceMachine(), values, heads, count);
}

} // namespace lava::cuda
