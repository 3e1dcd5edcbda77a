#pragma once

// The functions of ReplayDevice (compute/device.h) on whatever runs kernels; compute/cuda/layer_losses.h says what a
// Machine is.

#include "compute/cuda/attention_launch.h"
#include "compute/cuda/layer_losses.h"
#include "compute/cuda/radix_order.h"

#include <cmath>

namespace lava::cuda {

template <typename Machine> std::vector<float> window_means_on(const Machine& machine, const WindowInputs& inputs)
{
    const auto q_stride = inputs.window * inputs.head_dim, k_stride = inputs.seq_len * inputs.head_dim;
    const auto q = machine.copy_in(inputs.q, inputs.num_heads * q_stride);
    const auto k = machine.copy_in(inputs.k, inputs.num_kv_heads * k_stride);
    const AttentionInputs<float> in{q.data(), k.data(), nullptr, q_stride, k_stride, 0, inputs.num_heads,
        inputs.num_kv_heads, inputs.window, inputs.seq_len, inputs.head_dim, inputs.sliding_window,
        static_cast<float>(1 / std::sqrt(static_cast<double>(inputs.head_dim)))};
    const auto workspace = machine.template make<float>(workspace_floats(in, false));
    const auto means = machine.template make<float>(inputs.num_heads * inputs.seq_len);
    AttentionOutputs<float> out;
    out.column_sums = means.data();
    out.divisor = static_cast<float>(inputs.window);
    launch_attention<PlainProduct>(machine, in, out, workspace.data());
    return machine.copy_out(means);
}

template <typename Machine>
std::vector<std::uint32_t> descending_orders_on(
    const Machine& machine, const float* values, std::int64_t heads, std::int64_t count)
{
    const auto of_heads = machine.copy_in(values, heads * count);
    const auto order = machine.template make<std::uint32_t>(heads * count);
    const auto other = machine.template make<std::uint32_t>(heads * count);
    machine.launch(RadixOrder{heads, count, of_heads.data(), order.data(), other.data()});
    return machine.copy_out(order);
}

} // namespace lava::cuda
