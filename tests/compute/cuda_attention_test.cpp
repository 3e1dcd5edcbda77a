// The CUDA kernels of compute/cuda by their emulation on the CPU (tests/emulated_machine.h).

#include "compute/cuda/tensor_core_product.cuh"
#include "tests/compute/emulated_attention.h"
#include "tests/compute/naive_attention.h"

#include <gtest/gtest.h>

#include <string>

namespace lava {
namespace {

using cuda::testing::Order;
using testing::AttentionCase;
using testing::emulated_attention;

class EmulatedAttention : public ::testing::TestWithParam<AttentionCase>
{ };

TEST_P(EmulatedAttention, EqualsTheNaiveNByNInDouble)
{
    const auto problem = testing::random_attention(GetParam());
    const auto result = emulated_attention<float>(problem.q, problem.k, problem.v, true, problem.window);
    testing::expect_near_naive(result, problem, 1e-5);
}

TEST_P(EmulatedAttention, EqualsItsCpuTwin)
{
    const auto problem = testing::random_attention(GetParam());
    const auto twin = causal_attention(problem.q, problem.k, problem.v, true, problem.window);
    const auto result = emulated_attention<float>(problem.q, problem.k, problem.v, true, problem.window);
    EXPECT_LT(testing::relative_difference(result.z, twin.z), 1e-5);
    EXPECT_LT(testing::relative_difference(result.column_sums, twin.column_sums), 1e-5);
    EXPECT_LT(testing::relative_difference(result.column_sums_off_diagonal, twin.column_sums_off_diagonal), 1e-5);
}

TEST_P(EmulatedAttention, DoesNotDependOnTheOrderOfThreadsAndBlocks)
{
    const auto problem = testing::random_attention(GetParam());
    const auto a = emulated_attention<float>(problem.q, problem.k, problem.v, true, problem.window, Order::ascending);
    const auto b = emulated_attention<float>(problem.q, problem.k, problem.v, true, problem.window, Order::descending);
    EXPECT_TRUE(at::equal(a.z, b.z));
    EXPECT_TRUE(at::equal(a.column_sums, b.column_sums));
    EXPECT_TRUE(at::equal(a.column_sums_off_diagonal, b.column_sums_off_diagonal));
}

TEST_P(EmulatedAttention, In16BitsIsExactUpToTheRoundingOfWeightsAndOutputs)
{
    const auto problem = testing::random_attention(GetParam());
    const auto in = [&](at::ScalarType type) { return testing::converted(problem, type); };
    const auto bfloat16 = in(at::kBFloat16), float16 = in(at::kHalf);
    testing::expect_near_naive(emulated_attention<at::BFloat16, cuda::TensorCoreProduct>(
                                   bfloat16.q, bfloat16.k, bfloat16.v, true, problem.window),
        bfloat16, 1e-2);
    testing::expect_near_naive(
        emulated_attention<at::Half, cuda::TensorCoreProduct>(float16.q, float16.k, float16.v, true, problem.window),
        float16, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Sizes, EmulatedAttention, ::testing::ValuesIn(testing::attention_cases()),
    [](const auto& sizes) { return sizes.param.name(); });

TEST(EmulatedAttentionTiles, FitIntoSharedMemoryForEveryHeadOfTheFamilies)
{
    for (const std::int64_t head_dim : {8, 64, 80, 96, 128, 256}) {
        cuda::AttentionInputs<float> wide{};
        wide.num_heads = wide.num_kv_heads = 1;
        wide.head_dim = head_dim;
        cuda::AttentionInputs<at::BFloat16> narrow{};
        narrow.num_heads = narrow.num_kv_heads = 1;
        narrow.head_dim = head_dim;
        EXPECT_GT(cuda::tile_size(wide).rows, 0) << head_dim;
        EXPECT_GT(cuda::tile_size(narrow).rows, 0) << head_dim;
        if (head_dim <= 128) {
            EXPECT_EQ(cuda::tile_size(narrow).rows, 64) << head_dim;
        }
    }
}

TEST(EmulatedAttentionHeads, MayLieApart)
{
    const auto problem = testing::random_attention({.n = 20, .past = 30, .group = 2, .head_dim = 64});
    const auto cache = [](const at::Tensor& x) { // as a cache with room for more
        auto longer = at::full({x.size(0), x.size(1) + 7, x.size(2)}, NAN);
        longer.narrow(1, 0, x.size(1)).copy_(x);
        return longer.narrow(1, 0, x.size(1));
    };
    const auto plain = emulated_attention<float>(problem.q, problem.k, problem.v, true);
    const auto apart = emulated_attention<float>(cache(problem.q), cache(problem.k), cache(problem.v), true);
    EXPECT_TRUE(at::equal(plain.z, apart.z));
    EXPECT_TRUE(at::equal(plain.column_sums, apart.column_sums));
}

} // namespace
} // namespace lava
