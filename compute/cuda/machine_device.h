#pragma once

// A device (compute/device.h) made of whatever runs kernels; compute/cuda/layer_losses.h says what a Machine is.

#include "compute/cuda/attention_launch.h"
#include "compute/cuda/layer_losses.h"
#include "compute/cuda/radix_order.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace lava::cuda {

template <typename Machine> class MachineDevice : public Device
{
public:
    explicit MachineDevice(const Machine& machine)
        : machine_(machine)
    { }

    std::unique_ptr<LayerEngine> attend(const LossInputs& inputs, int) const override
    {
        return std::unique_ptr<LayerEngine>(new LayerLosses<Machine>(machine_, inputs));
    }

    void window_means(const WindowInputs& inputs, int, float* means) const override
    {
        const auto q_stride = inputs.window * inputs.head_dim, k_stride = inputs.seq_len * inputs.head_dim;
        const auto q = machine_.copy_in(inputs.q, inputs.num_heads * q_stride);
        const auto k = machine_.copy_in(inputs.k, inputs.num_kv_heads * k_stride);
        const AttentionInputs<float> in{q.data(), k.data(), nullptr, q_stride, k_stride, 0, inputs.num_heads,
            inputs.num_kv_heads, inputs.window, inputs.seq_len, inputs.head_dim, inputs.sliding_window,
            static_cast<float>(1 / std::sqrt(static_cast<double>(inputs.head_dim)))};
        const auto workspace = machine_.template make<float>(workspace_floats(in, false));
        const auto sums = machine_.template make<float>(inputs.num_heads * inputs.seq_len);
        AttentionOutputs<float> out;
        out.column_sums = sums.data();
        out.divisor = static_cast<float>(inputs.window);
        launch_attention<PlainProduct>(machine_, in, out, workspace.data());
        const auto all = machine_.copy_out(sums);
        const auto kept = inputs.seq_len - inputs.window;
        for (std::int64_t head = 0; head < inputs.num_heads; ++head) {
            std::copy_n(all.data() + head * inputs.seq_len, kept, means + head * kept);
        }
    }

    void descending_orders(
        const float* values, std::int64_t heads, std::int64_t count, std::uint32_t* orders) const override
    {
        const auto of_heads = machine_.copy_in(values, heads * count);
        const auto order = machine_.template make<std::uint32_t>(heads * count);
        const auto other = machine_.template make<std::uint32_t>(heads * count);
        machine_.launch(RadixOrder{heads, count, of_heads.data(), order.data(), other.data()});
        const auto found = machine_.copy_out(order);
        std::copy(found.begin(), found.end(), orders);
    }

private:
    Machine machine_;
};

} // namespace lava::cuda
