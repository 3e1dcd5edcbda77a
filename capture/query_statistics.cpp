#include "capture/query_statistics.h"

#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

constexpr std::int64_t skipped_positions = 4; // attention sinks, whose queries are unlike all others
constexpr std::int64_t block_rows = 1024; // bounds the copy in double

} // namespace

void QueryStatistics::add(const at::Tensor& q_pre_rope)
{
    const auto rows = q_pre_rope.size(1);
    const auto first = std::clamp<std::int64_t>(skipped_positions - seen_, 0, rows);
    seen_ += rows;
    if (!sum_.defined()) {
        const auto heads = q_pre_rope.size(0), dim = q_pre_rope.size(2);
        const auto options = q_pre_rope.options().dtype(at::kDouble);
        sum_ = at::zeros({heads, dim}, options);
        product_ = at::zeros({heads, dim, dim}, options);
    }
    const int workers = q_pre_rope.is_cpu() ? worker_threads() : 1;
    parallel_items(q_pre_rope.size(0), workers, [&](std::int64_t head) {
        for (auto row = first; row < rows; row += block_rows) {
            const auto block = q_pre_rope[head].narrow(0, row, std::min(block_rows, rows - row)).to(at::kDouble);
            sum_[head].add_(block.sum(0));
            product_[head].addmm_(block.t(), block);
        }
    });
}

MeanAndCovariance QueryStatistics::result() const
{
    const auto counted = seen_ - skipped_positions;
    if (counted <= 0)
        return {};
    const auto mean = sum_ / counted;
    const auto covariance = product_ / counted - mean.unsqueeze(2) * mean.unsqueeze(1);
    return {mean.to(at::kCPU, at::kFloat), covariance.to(at::kCPU, at::kFloat)};
}

} // namespace lava
