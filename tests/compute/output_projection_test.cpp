#include "compute/cpu/output_projection.h"

#include "compute/cpu/kernels/kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace lava {
namespace {

TEST(OutputProjection, NormsOfTinyRowsAreAsExactAsOfLargeOnes)
{
    LossSizes shape;
    shape.num_heads = 4;
    shape.head_dim = 20;
    shape.hidden_size = 72;
    const auto w_o = at::randn({shape.hidden_size, shape.num_heads * shape.head_dim});
    const OutputProjection projection(
        {shape, nullptr, nullptr, nullptr, nullptr, nullptr, w_o.const_data_ptr<float>()});
    const auto z = at::randn({3, shape.num_heads, shape.head_dim});
    const auto y = at::mm(z.view({3, -1}).to(at::kDouble), w_o.to(at::kDouble).t());
    for (const double scale : {1.0, 1e-12, 1e-20, 1e-30}) {
        std::vector<float> rows(static_cast<std::size_t>(3 * projection.row_stride()));
        const auto scaled = z.mul(scale);
        for (std::int64_t row = 0; row < 3; ++row) {
            for (std::int64_t head = 0; head < shape.num_heads; ++head) {
                const auto* from = scaled.const_data_ptr<float>() + (row * shape.num_heads + head) * shape.head_dim;
                std::copy_n(
                    from, shape.head_dim, rows.data() + row * projection.row_stride() + head * padded(shape.head_dim));
            }
        }
        std::vector<double> l1(3);
        std::vector<double> l2(3);
        projection.norms(rows.data(), 3, l1.data(), l2.data());
        for (std::int64_t row = 0; row < 3; ++row) {
            const auto expected_l1 = scale * y[row].abs().sum().item<double>();
            const auto expected_l2 = scale * y[row].norm().item<double>();
            EXPECT_NEAR(l1[static_cast<std::size_t>(row)], expected_l1, 2e-6 * expected_l1) << scale;
            EXPECT_NEAR(l2[static_cast<std::size_t>(row)], expected_l2, 2e-6 * expected_l2) << scale;
        }
    }
}

} // namespace
} // namespace lava
