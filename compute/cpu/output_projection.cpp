#include "compute/cpu/output_projection.h"

#include "base/sizes.h"
#include "compute/cpu/arithmetic.h"

#include <algorithm>

namespace lava {

OutputProjection::OutputProjection(const LossInputs& inputs)
    : columns_(inputs.sizes.hidden_size)
{
    const auto& sizes = inputs.sizes;
    const auto dim = padded(sizes.head_dim);
    inner_ = sizes.num_heads * dim;
    row_stride_ = inner_ + lane_multiple; // rows a power of two apart would share the same few lines of the cache
    const auto width = kernels().panel_columns;
    panels_.resize(index(rounded_up(columns_, width) * inner_));
    const auto* weight = inputs.w_o; // [hidden_size, num_heads, head_dim]
    for (std::int64_t column = 0; column < columns_; ++column) {
        auto* to = panels_.data() + column / width * width * inner_ + column % width;
        for (std::int64_t head = 0; head < sizes.num_heads; ++head) {
            for (std::int64_t i = 0; i < sizes.head_dim; ++i) {
                to[(head * dim + i) * width] = *weight++;
            }
        }
    }
}

void OutputProjection::norms(const float* rows, std::int64_t count, double* l1, double* l2) const
{
    kernels().product_norms(rows, row_stride_, count, {panels_.data(), inner_, columns_}, l1, l2);
    constexpr double small = 1e-15; // mean magnitude, whose square is far from leaving fp32's range
    for (std::int64_t row = 0; row < count; ++row) {
        if (l1[row] != 0 && l1[row] < small * static_cast<double>(columns_)) {
            norms_of_small_row(rows + row * row_stride_, l1[row], l2[row]);
        }
    }
}

void OutputProjection::norms_of_small_row(const float* row, double& l1, double& l2) const
{
    constexpr float scale = 0x1p60F;
    std::vector<float> scaled(row, row + inner_);
    std::transform(scaled.begin(), scaled.end(), scaled.begin(), [](float x) { return x * scale; });
    kernels().product_norms(scaled.data(), inner_, 1, {panels_.data(), inner_, columns_}, &l1, &l2);
    l1 /= static_cast<double>(scale);
    l2 /= static_cast<double>(scale);
}

} // namespace lava
