#include "compute/cpu/descending_order.h"
#include "compute/cpu/layer_engine.h"
#include "compute/cpu/window_means.h"
#include "compute/device.h"

namespace lava {

namespace {

class CpuDevice : public Device
{
public:
    std::unique_ptr<LayerEngine> attend(const LossInputs& inputs, int threads) const override
    {
        return std::make_unique<CpuLayerEngine>(inputs, threads);
    }

    void window_means(const WindowInputs& inputs, int threads, float* means) const override
    {
        window_means_on_cpu(inputs, threads, means);
    }

    void descending_orders(
        const float* values, std::int64_t heads, std::int64_t count, std::uint32_t* orders) const override
    {
        for (std::int64_t head = 0; head < heads; ++head) {
            descending_order(values + head * count, count, orders + head * count);
        }
    }
};

} // namespace

const Device& cpu_device()
{
    static const CpuDevice device;
    return device;
}

} // namespace lava
