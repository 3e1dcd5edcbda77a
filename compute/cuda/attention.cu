#include "compute/cuda/attention.h"

#include "compute/cuda/attention_launch.h"
#include "compute/cuda/launch.cuh"
#include "compute/cuda/tensor_core_product.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace lava::cuda {

namespace {

template <typename T> AttentionInputs<T> inputs_of(const Attention& a)
{
    return {static_cast<const T*>(a.q), static_cast<const T*>(a.k), static_cast<const T*>(a.v), a.q_stride, a.k_stride,
        a.v_stride, a.num_heads, a.num_kv_heads, a.n, a.num_keys, a.head_dim, a.window,
        static_cast<float>(1 / std::sqrt(static_cast<double>(a.head_dim)))};
}

/// work(inputs, product) in the attention's type, by the arithmetic for it.
template <typename Work> auto in_type(const Attention& a, const Work& work)
{
    switch (a.type) {
    case NumberType::float16:
        return work(inputs_of<__half>(a), TensorCoreProduct());
    case NumberType::bfloat16:
        return work(inputs_of<__nv_bfloat16>(a), TensorCoreProduct());
    case NumberType::float32:
        break;
    }
    return work(inputs_of<float>(a), PlainProduct());
}

} // namespace

bool attention_fits(NumberType type, std::int64_t head_dim)
{
    Attention attention;
    attention.type = type;
    attention.num_heads = attention.num_kv_heads = 1;
    attention.head_dim = head_dim;
    return in_type(attention, [](const auto& in, auto) { return tile_size(in).rows > 0; });
}

std::int64_t attention_workspace(const Attention& attention)
{
    return in_type(attention, [&](const auto& in, auto) { return workspace_floats(in, attention.z != nullptr); });
}

void attend(const Attention& a, float* workspace, Stream stream)
{
    const StreamLauncher launcher(stream);
    in_type(a, [&](const auto& in, auto product) {
        launch_attention<decltype(product)>(launcher, in,
            {static_cast<std::remove_const_t<std::remove_pointer_t<decltype(in.q)>>*>(a.z), a.column_sums,
                a.off_diagonal, a.divisor},
            workspace);
    });
}

} // namespace lava::cuda
