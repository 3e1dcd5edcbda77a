#include "compute/cpu/arithmetic.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

#include <cmath>

namespace lava {
namespace {

/// Columns that attend to blocks of which they see given parts, against softmax(q K) V in float64.
void expect_softmax(
    const Kernels& kernel, std::int64_t head_dim, double spread, const std::vector<std::vector<std::int32_t>>& visible)
{
    const auto columns = static_cast<std::int64_t>(visible.front().size());
    const auto blocks = static_cast<std::int64_t>(visible.size());
    const auto dim = padded(head_dim);
    at::manual_seed(3);
    const auto q = at::randn({columns, head_dim}) * spread, k = at::randn({blocks * block_entries, head_dim}),
               v = at::randn({blocks * block_entries, head_dim});
    const auto max = at::full({columns}, lowest_logit), sum = at::zeros({columns, lane_multiple}),
               out = at::zeros({columns, dim});
    auto mask = at::zeros({columns, blocks * block_entries}, at::kBool);
    for (std::int64_t b = 0; b < blocks; ++b) {
        const auto keys = k.narrow(0, b * block_entries, block_entries).t().contiguous();
        const auto values = at::zeros({block_entries, dim});
        values.narrow(1, 0, head_dim).copy_(v.narrow(0, b * block_entries, block_entries));
        const auto& seen = visible[static_cast<std::size_t>(b)];
        kernel.attend_block({q.const_data_ptr<float>(), head_dim, max.data_ptr<float>(), sum.data_ptr<float>(),
                                out.data_ptr<float>(), dim},
            {keys.const_data_ptr<float>(), values.const_data_ptr<float>()}, seen.data(), columns);
        for (std::int64_t c = 0; c < columns; ++c)
            mask[c].narrow(0, b * block_entries, seen[static_cast<std::size_t>(c)]).fill_(true);
    }
    const auto scores = at::mm(q.to(at::kDouble), k.to(at::kDouble).t()).masked_fill(mask.logical_not(), -INFINITY);
    const auto expected = at::mm(at::softmax(scores, 1), v.to(at::kDouble));
    const auto found = out.narrow(1, 0, head_dim) / sum.sum(1, true);
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-5 * (1 + spread)) << "head_dim " << head_dim;
}

TEST(AttentionBlock, IsASoftmaxOverWhatEachColumnSees)
{
    for (const auto* arithmetic : runnable_arithmetic()) {
        SCOPED_TRACE(arithmetic->name);
        for (const std::int64_t head_dim : {8, 64, 80, 96, 128, 20}) {
            expect_softmax(arithmetic->kernels, head_dim, 0.3, {{64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64}});
            expect_softmax(arithmetic->kernels, head_dim, 0.3,
                {{1, 2, 3, 17, 63, 64, 5, 8, 31, 33, 48, 60}, {0, 0, 9, 0, 64, 1, 0, 16, 32, 0, 0, 64}});
            expect_softmax(arithmetic->kernels, head_dim, 10,
                {{64, 64, 7, 64, 64, 64}, {64, 1, 0, 64, 64, 64}, {64, 0, 0, 13, 64, 64}});
        }
    }
}

TEST(AttentionBlock, AColumnThatSeesNothingYetTakesNothing)
{
    for (const auto* arithmetic : runnable_arithmetic()) {
        SCOPED_TRACE(arithmetic->name);
        expect_softmax(arithmetic->kernels, 64, 1, {{0, 64, 0, 3, 0, 0}, {5, 0, 64, 0, 1, 2}});
    }
}

TEST(AttentionBlock, GathersEntriesFromAnywhere)
{
    constexpr std::uint32_t rows[] = {7, 0, 90, 3, 3, 41, 12};
    for (const auto* arithmetic : runnable_arithmetic()) {
        for (const std::int64_t dim : {8, 64, 21}) {
            const auto k = at::randn({91, dim}), v = at::randn({91, dim});
            const auto keys = at::full({dim, block_entries}, 5.0F),
                       values = at::full({block_entries, padded(dim)}, 5.0F);
            arithmetic->kernels.gather_block({k.const_data_ptr<float>(), v.const_data_ptr<float>(), dim}, rows,
                std::ssize(rows), keys.data_ptr<float>(), values.data_ptr<float>());
            auto expected_keys = at::full_like(keys, 5), expected_values = at::full_like(values, 5);
            for (std::int64_t slot = 0; slot < std::ssize(rows); ++slot) {
                expected_keys.select(1, slot).copy_(k[rows[slot]]);
                expected_values[slot].narrow(0, 0, dim).copy_(v[rows[slot]]);
            }
            EXPECT_TRUE(at::equal(keys, expected_keys)) << arithmetic->name << ' ' << dim;
            EXPECT_TRUE(at::equal(values, expected_values)) << arithmetic->name << ' ' << dim;
        }
    }
}

} // namespace
} // namespace lava
