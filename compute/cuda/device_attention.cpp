#include "compute/cuda/device_attention.h"

#include "compute/cuda/attention.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace lava {

namespace {

cuda::NumberType number_type(at::ScalarType type)
{
    return type == at::kHalf    ? cuda::NumberType::float16
        : type == at::kBFloat16 ? cuda::NumberType::bfloat16
                                : cuda::NumberType::float32;
}

bool is_number_type(at::ScalarType type)
{
    return type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
}

/// Heads of contiguous rows, in the type of the queries.
at::Tensor plain_heads(const at::Tensor& x, at::ScalarType type)
{
    const auto same = x.to(type);
    return same.stride(2) == 1 && same.stride(1) == same.size(2) ? same : same.contiguous();
}

cuda::Stream current_stream(const at::Device& device)
{
    return static_cast<cuda::Stream>(c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle());
}

} // namespace

bool runs_on_device(const at::Tensor& q)
{
    return q.is_cuda() && is_number_type(q.scalar_type())
        && cuda::attention_fits(number_type(q.scalar_type()), q.size(2));
}

AttentionResult device_attention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool column_sums, std::int64_t window)
{
    const auto type = q.scalar_type();
    const auto queries = plain_heads(q, type), keys = plain_heads(k, type), values = plain_heads(v, type);
    const auto floats = q.options().dtype(at::kFloat);
    AttentionResult result;
    result.z = at::empty({q.size(1), q.size(0) * q.size(2)}, q.options());
    cuda::Attention attention{.type = number_type(type),
        .q = queries.const_data_ptr(),
        .k = keys.const_data_ptr(),
        .v = values.const_data_ptr(),
        .q_stride = queries.stride(0),
        .k_stride = keys.stride(0),
        .v_stride = values.stride(0),
        .num_heads = q.size(0),
        .num_kv_heads = k.size(0),
        .n = q.size(1),
        .num_keys = k.size(1),
        .head_dim = q.size(2),
        .window = window,
        .z = result.z.mutable_data_ptr()};
    if (column_sums) {
        result.column_sums = at::empty({q.size(0), k.size(1)}, floats);
        result.column_sums_off_diagonal = at::empty_like(result.column_sums);
        attention.column_sums = result.column_sums.mutable_data_ptr<float>();
        attention.off_diagonal = result.column_sums_off_diagonal.mutable_data_ptr<float>();
    }
    const cuda::CurrentDevice device(q.device().index());
    const auto workspace = at::empty({cuda::attention_workspace(attention)}, floats);
    cuda::attend(attention, workspace.mutable_data_ptr<float>(), current_stream(q.device()));
    return result;
}

} // namespace lava
