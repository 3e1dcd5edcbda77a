#pragma once

#include "compute/attention.h"
#include "compute/cuda/attention_launch.h"
#include "tests/emulated_machine.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace lava::testing {

/// [heads, rows, head_dim] as causal_attention() takes it, for kernels that compute in T.
template <typename T>
cuda::AttentionInputs<T> attention_inputs(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t window)
{
    return {q.const_data_ptr<T>(), k.const_data_ptr<T>(), v.const_data_ptr<T>(), q.stride(0), k.stride(0), v.stride(0),
        q.size(0), k.size(0), q.size(1), k.size(1), q.size(2), window,
        static_cast<float>(1 / std::sqrt(static_cast<double>(q.size(2))))};
}

/// causal_attention() by the CUDA kernels, run on the CPU.
template <typename T, typename Product = cuda::PlainProduct>
AttentionResult emulated_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums,
    std::int64_t window = 0, cuda::testing::Order order = cuda::testing::Order::ascending)
{
    const auto in = attention_inputs<T>(q, k, v, window);
    AttentionResult result;
    result.z = at::full({q.size(1), q.size(0) * q.size(2)}, NAN, q.options());
    cuda::AttentionOutputs<T> out;
    out.z = result.z.mutable_data_ptr<T>();
    if (column_sums) {
        result.column_sums = at::full({q.size(0), k.size(1)}, NAN, at::kFloat);
        result.column_sums_off_diagonal = result.column_sums.clone();
        out.column_sums = result.column_sums.mutable_data_ptr<float>();
        out.off_diagonal = result.column_sums_off_diagonal.mutable_data_ptr<float>();
    }
    std::vector<float> workspace(static_cast<std::size_t>(cuda::workspace_floats(in, true)), NAN);
    cuda::launch_attention<Product>(cuda::testing::EmulatedMachine(order), in, out, workspace.data());
    return result;
}

} // namespace lava::testing
