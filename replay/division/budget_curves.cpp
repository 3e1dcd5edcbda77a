#include "replay/division/budget_curves.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lava {

namespace {

constexpr std::int64_t points = 99;

// The row of the curves for a share to evict: that of its nearest percentage.
std::int64_t point_of(double evicted_share)
{
    const auto percent = static_cast<std::int64_t>(std::nearbyint(evicted_share * 100)); // half to even, as Python
    return std::clamp<std::int64_t>(percent - 1, 0, points - 1);
}

// Indices of the `count` largest, equal ones by index.
std::vector<std::int64_t> largest(const at::Tensor& values, std::int64_t count)
{
    const auto order = std::get<1>(values.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
    return {order.const_data_ptr<std::int64_t>(), order.const_data_ptr<std::int64_t>() + count};
}

// shares [num_kv_heads]: of each head, to evict
std::vector<std::int64_t> layer_counts(const at::Tensor& shares, std::int64_t seq_len)
{
    const auto heads = shares.size(0);
    const auto ideal = (1 - shares).clamp(0, 1) * static_cast<double>(seq_len);
    const auto total = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(std::nearbyint(ideal.sum().item<float>())), heads, heads * seq_len);
    const auto whole = ideal.floor();
    std::vector<std::int64_t> counts;
    std::int64_t missing = total;
    for (std::int64_t head = 0; head < heads; ++head) {
        counts.push_back(static_cast<std::int64_t>(whole[head].item<float>()));
        missing -= counts.back();
    }
    for (const auto head : largest(ideal - whole, std::clamp<std::int64_t>(missing, 0, heads))) {
        ++counts[static_cast<std::size_t>(head)];
    }
    return counts;
}

} // namespace

BudgetCurves::BudgetCurves(std::string file)
    : file_(std::move(file))
    , curves_(read_npy(file_))
{
    const auto& shape = curves_.shape;
    if (shape.size() != 3 || shape[0] != points) {
        throw Error(file_ + ": expected curves [99, layers, KV heads], found an array " + shape_text(shape));
    }
    for (const auto share : curves_.values) {
        if (!std::isfinite(share)) {
            throw Error(formatted("{}: expected finite shares, found {:f}", file_, share));
        }
    }
}

Allocation BudgetCurves::allocate(const BudgetRequest& request) const
{
    const auto layers = request.shape.num_layers;
    const auto heads = request.shape.num_kv_heads;
    const std::vector<std::int64_t> expected{points, layers, heads};
    if (curves_.shape != expected) {
        throw Error(file_ + ": expected curves " + shape_text(expected) + " (the trace's layers and KV heads), found "
            + shape_text(curves_.shape));
    }
    Allocation allocation;
    const bool evicts = request.evicted_share() > 0;
    const auto* point = curves_.values.data() + point_of(request.evicted_share()) * layers * heads;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        auto shares = at::zeros({heads});
        std::copy_n(point + layer * heads, heads, shares.data_ptr<float>());
        for (const auto count : layer_counts(shares, request.seq_len)) {
            allocation.granted.push_back(evicts ? count : request.seq_len);
            allocation.retained.push_back(std::clamp<std::int64_t>(allocation.granted.back(), 1, request.seq_len));
        }
    }
    return allocation;
}

} // namespace lava
