#include "compute/cpu/row_arithmetic.h"

#include "compute/cpu/arithmetic.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <gtest/gtest.h>

#include <vector>

namespace lava {
namespace {

constexpr double eps = 1e-5;

at::Tensor draw(std::int64_t rows, std::int64_t size, std::uint64_t seed, double scale = 1)
{
    return at::randn({rows, size}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat) * scale;
}

const float* data(const at::Tensor& x)
{
    return x.const_data_ptr<float>();
}

/// Largest difference relative to the largest expected number.
double worst(const at::Tensor& found, const at::Tensor& expected)
{
    return ((found.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

at::Tensor normalized(const at::Tensor& x)
{
    return x / at::sqrt(x.square().mean(-1, true) + eps);
}

/// Row lengths that are and are not whole vectors.
class RowArithmeticOf : public testing::TestWithParam<std::int64_t>
{ };

TEST_P(RowArithmeticOf, NormsGatesAndDotsEqualTheDefinition)
{
    const auto size = GetParam();
    const auto x = draw(7, size, 1, 3), weight = draw(1, size, 2), up = draw(7, size, 3);
    for (const auto* arithmetic : runnable_arithmetic()) {
        auto found = at::empty_like(x);
        arithmetic->rows.rms_norm(data(x), data(weight), 7, size, eps, found.mutable_data_ptr<float>());
        EXPECT_LT(worst(found, normalized(x.to(at::kDouble)) * weight.to(at::kDouble)), 1e-6) << arithmetic->name;

        auto gate = x * 10; // to both ends of the exponential
        const auto expected = at::silu(gate.to(at::kDouble)) * up.to(at::kDouble);
        arithmetic->rows.gate(gate.mutable_data_ptr<float>(), data(up), gate.numel());
        EXPECT_LT(worst(gate, expected), 1e-6) << arithmetic->name;

        auto dots = at::empty({7});
        arithmetic->rows.dots(data(x), 7, size, data(weight), dots.mutable_data_ptr<float>());
        EXPECT_LT(worst(dots, at::mv(x.to(at::kDouble), weight[0].to(at::kDouble))), 1e-6) << arithmetic->name;
    }
}

TEST_P(RowArithmeticOf, RotationTurnsPairsAndLeavesTheRest)
{
    const auto dim = 2 * GetParam(), head_dim = dim + 3;
    const auto x = draw(5, head_dim, 1), angle = draw(1, dim / 2, 2);
    const auto cos = at::cat({angle.cos(), angle.cos()}, 1), sin = at::cat({angle.sin(), angle.sin()}, 1);
    const auto first = x.narrow(1, 0, dim / 2), second = x.narrow(1, dim / 2, dim / 2);
    const auto expected = at::cat(
        {first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin(), x.narrow(1, dim, 3)},
        1);
    for (const auto* arithmetic : runnable_arithmetic()) {
        auto found = at::empty_like(x);
        arithmetic->rows.rotate({.x = data(x),
            .heads = 5,
            .head_dim = head_dim,
            .cos = data(cos),
            .sin = data(sin),
            .dim = dim,
            .out = found.mutable_data_ptr<float>(),
            .out_stride = head_dim});
        EXPECT_LT(worst(found, expected.to(at::kDouble)), 1e-6) << arithmetic->name;
    }
}

TEST_P(RowArithmeticOf, ChangesAreAsExactWhenTheyAreSmall)
{
    const auto size = GetParam();
    const auto x = draw(1, size, 1), weight = draw(1, size, 2), gate = draw(1, size, 3, 3), up = draw(1, size, 4);
    const auto wide_x = x.to(at::kDouble), wide_gate = gate.to(at::kDouble), wide_up = up.to(at::kDouble);
    for (const double scale : {1.0, 1e-6}) {
        const auto d = draw(1, size, 5, scale), d_up = draw(1, size, 6, scale);
        const auto norm_change = (normalized(wide_x) - normalized(wide_x - d.to(at::kDouble))) * weight.to(at::kDouble);
        const auto gate_change = at::silu(wide_gate) * wide_up
            - at::silu(wide_gate - d.to(at::kDouble)) * (wide_up - d_up.to(at::kDouble));
        for (const auto* arithmetic : runnable_arithmetic()) {
            auto found = at::empty_like(x);
            arithmetic->rows.norm_change({.x = data(x),
                                             .d = data(d),
                                             .weight = data(weight),
                                             .square = (wide_x.square().mean() + eps).item<double>(),
                                             .out = found.mutable_data_ptr<float>()},
                size);
            EXPECT_LT(worst(found, norm_change), 1e-6) << arithmetic->name << " at " << scale;
            auto activated = at::empty_like(wide_gate);
            arithmetic->rows.activate(data(gate), size, activated.mutable_data_ptr<double>());
            EXPECT_LT(worst(activated, at::silu(wide_gate)), 1e-15) << arithmetic->name;
            arithmetic->rows.gate_change({.gate = data(gate),
                                             .up = data(up),
                                             .activated = activated.const_data_ptr<double>(),
                                             .gate_change = data(d),
                                             .up_change = data(d_up),
                                             .product_change = found.mutable_data_ptr<float>()},
                size);
            EXPECT_LT(worst(found, gate_change), 1e-6) << arithmetic->name << " at " << scale;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, RowArithmeticOf, testing::Values(3, 16, 61, 576));

} // namespace
} // namespace lava
