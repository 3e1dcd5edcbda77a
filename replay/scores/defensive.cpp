#include "replay/scores/defensive.h"

#include "compute/cpu/descending_order.h"
#include "replay/scores/projected_norms.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lava {

namespace {

at::Tensor without_zeros(const at::Tensor& divisor)
{
    return divisor.masked_fill(divisor == 0, 1);
}

// [num_heads, window, prefix] pooled, each row with the mass that it had
at::Tensor pooled_rows(const at::Tensor& attention, std::int64_t kernel)
{
    const auto rows = attention.reshape({-1, attention.size(2)});
    const auto pooled = pool_positions(rows, Pool::avg, kernel);
    return (pooled / without_zeros(pooled.sum(-1, true)) * rows.sum(-1, true)).view_as(attention);
}

// [num_kv_heads, prefix]: the worst case over the group and the window, at least the head's mean
at::Tensor worst_case(const at::Tensor& pooled, const ModelShape& shape)
{
    const auto worst = reduce_group(pooled.amax(1), shape, GroupReduction::max);
    return at::maximum(worst, worst.mean(-1, true));
}

// Places [num_kv_heads, prefix] by mean attention, and how many entries come before the one that reaches the threshold
// [num_kv_heads]: fp32, exact for whole numbers of this size.
std::vector<at::Tensor> first_stage(const at::Tensor& mean_attention, double threshold)
{
    const auto shares = (mean_attention / without_zeros(mean_attention.sum(-1, true))).contiguous();
    const auto heads = shares.size(0);
    const auto n = shares.size(1);
    auto places = at::empty({heads, n});
    auto counts = at::zeros({heads});
    std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
    for (std::int64_t head = 0; head < heads; ++head) {
        const auto* share = shares.const_data_ptr<float>() + head * n;
        descending_order(share, n, order.data());
        double sum = 0;
        bool reached = false;
        for (std::int64_t place = 0; place < n; ++place) {
            const auto entry = order[static_cast<std::size_t>(place)];
            places.data_ptr<float>()[head * n + entry] = static_cast<float>(place);
            sum += static_cast<double>(share[entry]);
            if (!reached && sum >= threshold) {
                reached = true;
                counts.data_ptr<float>()[head] = static_cast<float>(place);
            }
        }
    }
    return {places, counts};
}

} // namespace

LayerScores DefensiveRule::score(const LayerInputs& layer) const
{
    const auto prefix = layer.seq_len() - window;
    const auto all = layer.window_attention(window);
    const auto attention = all.narrow(2, 0, prefix);
    const auto norms = projected_value_norms(layer).narrow(1, 0, prefix);
    const auto weights = norms / without_zeros(norms.sum(0, true));
    const auto scores = worst_case(pooled_rows(attention, kernel), layer.shape()) * weights;

    const auto columns = std::min(window, prefix);
    const auto biased = bias_of_window ? all.narrow(2, prefix, window) : attention.narrow(2, prefix - columns, columns);
    const auto bias = biased.sum(-1).mean(at::kDouble).item<double>();
    const auto mean_attention = reduce_group(attention.mean(1), layer.shape(), GroupReduction::mean);

    auto entries = at::full({scores.size(0), layer.seq_len()}, scores.max().item<float>());
    entries.narrow(1, 0, prefix).copy_(scores);
    return {entries, 1, first_stage(mean_attention, threshold - bias)};
}

LayerScores DefensiveRule::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    const auto prefix = scores.entries.size(1) - window;
    const auto share = request.ratio
        ? static_cast<double>(prefix) * (1 - *request.ratio)
        : static_cast<double>(prefix * request.budget) / static_cast<double>(request.seq_len);
    const auto most = static_cast<std::int64_t>(share - static_cast<double>(window)); // towards 0
    auto entries = scores.entries.clone();
    const auto largest = entries.max().item<float>();
    const auto& places = scores.parts[0];
    for (std::int64_t head = 0; head < entries.size(0); ++head) {
        const auto reaching = static_cast<std::int64_t>(scores.parts[1][head].item<float>());
        auto count = std::min(reaching, most);
        count = count < 0 ? std::max<std::int64_t>(prefix + count, 0) : count;
        entries[head].narrow(0, 0, prefix).masked_fill_(places[head] < count, largest);
    }
    return {entries, scores.weight};
}

} // namespace lava
