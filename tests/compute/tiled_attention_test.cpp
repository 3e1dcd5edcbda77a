#include "compute/cpu/tiled_attention.h"

#include "compute/cpu/arithmetic.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <gtest/gtest.h>

#include <cmath>

namespace lava {
namespace {

struct Sizes
{
    std::int64_t heads, kv_heads, n, past, dim;
};

void PrintTo(const Sizes& sizes, std::ostream* out)
{
    *out << sizes.heads << " heads, " << sizes.kv_heads << " KV heads, " << sizes.n << " after " << sizes.past << ", "
         << sizes.dim << " numbers";
}

at::Tensor draw_heads(std::int64_t heads, std::int64_t rows, std::int64_t dim, std::uint64_t seed)
{
    return at::randn({heads, rows, dim}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

/// [heads, n, N] in float64, by definition.
at::Tensor probabilities_of(const at::Tensor& q, const at::Tensor& k)
{
    const auto n = q.size(1), total = k.size(1);
    const auto wide = k.to(at::kDouble).repeat_interleave(q.size(0) / k.size(0), 0);
    const auto scale = std::sqrt(static_cast<double>(q.size(2)));
    const auto scores = at::matmul(q.to(at::kDouble), wide.transpose(1, 2)) / scale;
    return at::softmax(scores.masked_fill(at::ones({n, total}, at::kBool).triu(total - n + 1), -INFINITY), -1);
}

double worst_relative(const at::Tensor& found, const at::Tensor& expected)
{
    return ((found.to(at::kDouble) - expected).abs() / (expected.abs() + 1e-30)).max().item<double>();
}

class TiledAttention : public testing::TestWithParam<Sizes>
{ };

TEST_P(TiledAttention, EqualsTheDefinitionInEveryInstructionSet)
{
    const auto [heads, kv_heads, n, past, dim] = GetParam();
    const auto q = draw_heads(heads, n, dim, 1) * 2, k = draw_heads(kv_heads, past + n, dim, 2),
               v = draw_heads(kv_heads, past + n, dim, 3);
    const auto expected = probabilities_of(q, k);
    const auto z = at::matmul(expected, v.to(at::kDouble).repeat_interleave(heads / kv_heads, 0));
    const auto own = at::ones({n, past + n}, at::kBool).triu(past).tril(past);
    for (const auto* arithmetic : runnable_arithmetic()) {
        const auto found = tiled_attention(q, k, v, true, arithmetic->attention);
        const auto difference
            = (found.z.to(at::kDouble) - z.transpose(0, 1).reshape({n, -1})).abs().max().item<double>();
        EXPECT_LT(difference, 5e-6) << arithmetic->name;
        EXPECT_LT(worst_relative(found.column_sums, expected.sum(1)), 1e-5) << arithmetic->name;
        EXPECT_LT(worst_relative(found.column_sums_off_diagonal, expected.masked_fill(own, 0).sum(1)), 1e-5)
            << arithmetic->name;
        EXPECT_TRUE(at::equal(tiled_attention(q, k, v, false, arithmetic->attention).z, found.z)) << arithmetic->name;
    }
}

// less than a group of rows; rows and keys that fill nothing; the models' head sizes; more keys than a block; a long
// past
INSTANTIATE_TEST_SUITE_P(Sizes, TiledAttention,
    testing::Values(Sizes{2, 1, 5, 0, 8}, Sizes{6, 2, 50, 3, 20}, Sizes{3, 1, 300, 0, 64}, Sizes{4, 4, 97, 160, 80},
        Sizes{4, 2, 48, 1000, 128}, Sizes{1, 1, 700, 0, 16}));

TEST(TiledAttentionRows, MayLieInABiggerCache)
{
    const auto q = draw_heads(4, 30, 16, 1), k = draw_heads(2, 90, 16, 2), v = draw_heads(2, 90, 16, 3);
    const auto& attention = arithmetic().attention;
    const auto views = tiled_attention(q, k.narrow(1, 0, 40), v.narrow(1, 0, 40), true, attention);
    const auto copies
        = tiled_attention(q, k.narrow(1, 0, 40).contiguous(), v.narrow(1, 0, 40).contiguous(), true, attention);
    EXPECT_TRUE(at::equal(views.z, copies.z));
    EXPECT_TRUE(at::equal(views.column_sums, copies.column_sums));
}

TEST(TiledAttentionExtremes, KeepWhatIsCertain)
{
    // the first key outshines all others so much that nothing else is left
    const auto q = at::ones({1, 60, 16}), v = draw_heads(1, 60, 16, 3);
    auto k = at::zeros({1, 60, 16});
    k.select(1, 0).fill_(1000);
    for (const auto* arithmetic : runnable_arithmetic()) {
        const auto found = tiled_attention(q, k, v, true, arithmetic->attention);
        EXPECT_TRUE(at::equal(found.z, v[0].narrow(0, 0, 1).expand({60, 16}))) << arithmetic->name;
        EXPECT_EQ(found.column_sums[0][0].item<float>(), 60) << arithmetic->name;
        EXPECT_EQ(found.column_sums_off_diagonal[0][0].item<float>(), 59) << arithmetic->name;
        EXPECT_EQ(found.column_sums.narrow(1, 1, 59).abs().max().item<float>(), 0) << arithmetic->name;
    }
}

} // namespace
} // namespace lava
