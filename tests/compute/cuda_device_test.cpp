// The CUDA kernels of compute/cuda on a GPU: skipped where there is none.

#include "compute/cuda/attention.h"
#include "tests/compute/naive_attention.h"

#include <gtest/gtest.h>

namespace lava {
namespace {

using testing::AttentionCase;
using testing::AttentionProblem;

cuda::DeviceMemory on_device(const at::Tensor& x)
{
    cuda::DeviceMemory memory(x.nbytes());
    cuda::copy_to_device(memory.data(), x.const_data_ptr(), x.nbytes());
    return memory;
}

at::Tensor on_host(const cuda::DeviceMemory& memory, at::IntArrayRef sizes, at::ScalarType type)
{
    auto x = at::empty(sizes, at::TensorOptions().dtype(type));
    cuda::copy_to_host(x.mutable_data_ptr(), memory.data(), x.nbytes());
    return x;
}

AttentionResult attend_on_device(const AttentionProblem& problem, cuda::NumberType type)
{
    const auto heads = problem.q.size(0), n = problem.q.size(1), dim = problem.q.size(2), total = problem.k.size(1);
    const auto q = on_device(problem.q), k = on_device(problem.k), v = on_device(problem.v);
    const cuda::DeviceMemory z(problem.q.nbytes()), sums(static_cast<std::size_t>(heads * total) * sizeof(float)),
        off_diagonal(sums.size());
    const cuda::Attention attention{.type = type,
        .q = q.data(),
        .k = k.data(),
        .v = v.data(),
        .q_stride = n * dim,
        .k_stride = total * dim,
        .v_stride = total * dim,
        .num_heads = heads,
        .num_kv_heads = problem.k.size(0),
        .n = n,
        .num_keys = total,
        .head_dim = dim,
        .window = problem.window,
        .z = z.data(),
        .column_sums = static_cast<float*>(sums.data()),
        .off_diagonal = static_cast<float*>(off_diagonal.data())};
    const cuda::DeviceMemory workspace(static_cast<std::size_t>(cuda::attention_workspace(attention)) * sizeof(float));
    cuda::attend(attention, static_cast<float*>(workspace.data()), nullptr);
    cuda::synchronize();
    AttentionResult result;
    result.z = on_host(z, {n, heads * dim}, problem.q.scalar_type());
    result.column_sums = on_host(sums, {heads, total}, at::kFloat);
    result.column_sums_off_diagonal = on_host(off_diagonal, {heads, total}, at::kFloat);
    return result;
}

class DeviceAttention : public ::testing::TestWithParam<AttentionCase>
{
protected:
    void SetUp() override
    {
        if (cuda::device_count() == 0) {
            GTEST_SKIP() << "no CUDA device";
        }
    }
};

TEST_P(DeviceAttention, EqualsTheNaiveNByNInDouble)
{
    const auto problem = testing::random_attention(GetParam());
    testing::expect_near_naive(attend_on_device(problem, cuda::NumberType::float32), problem, 1e-5);
    const auto bfloat16 = testing::converted(problem, at::kBFloat16);
    testing::expect_near_naive(attend_on_device(bfloat16, cuda::NumberType::bfloat16), bfloat16, 1e-2);
    const auto float16 = testing::converted(problem, at::kHalf);
    testing::expect_near_naive(attend_on_device(float16, cuda::NumberType::float16), float16, 1e-3);
}

TEST_P(DeviceAttention, GivesTheSameBytesTwice)
{
    const auto problem = testing::converted(testing::random_attention(GetParam()), at::kBFloat16);
    const auto a = attend_on_device(problem, cuda::NumberType::bfloat16);
    const auto b = attend_on_device(problem, cuda::NumberType::bfloat16);
    EXPECT_TRUE(at::equal(a.z, b.z));
    EXPECT_TRUE(at::equal(a.column_sums, b.column_sums));
    EXPECT_TRUE(at::equal(a.column_sums_off_diagonal, b.column_sums_off_diagonal));
}

INSTANTIATE_TEST_SUITE_P(Sizes, DeviceAttention, ::testing::ValuesIn(testing::attention_cases()),
    [](const auto& sizes) { return sizes.param.name(); });

} // namespace
} // namespace lava
