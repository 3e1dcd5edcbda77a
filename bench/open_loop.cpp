#include "bench/open_loop.h"

#include "compute/parallel.h"
#include "replay/losses/loss.h"
#include "replay/losses/reference_loss.h"
#include "replay/scores/window_means.h"

#include <ATen/ATen.h>

#include <numeric>

namespace lava::bench {

namespace {

constexpr std::int64_t snapkv_window = 32;

double sum_of(const std::vector<double>& values)
{
    return std::accumulate(values.begin(), values.end(), 0.0);
}

at::Tensor kept_entries(const Workload& workload, std::int64_t budget)
{
    const auto& layer = workload.layers.front();
    const auto& ranking = workload.rankings.front().front();
    const auto* counts = workload.counts.front().front().data() + budget * layer.shape.num_kv_heads;
    auto kept = at::zeros({layer.shape.num_kv_heads, layer.seq_len}, at::kBool);
    for (std::int64_t head = 0; head < layer.shape.num_kv_heads; ++head) {
        for (std::int64_t i = 0; i < counts[head]; ++i) {
            const auto entry = ranking[static_cast<std::size_t>(head * layer.seq_len + i)];
            kept.data_ptr<bool>()[head * layer.seq_len + entry] = true;
        }
    }
    return kept;
}

} // namespace

double one_pass(const Workload& workload, int threads)
{
    std::vector<double> sums(workload.layers.size());
    parallel_items(static_cast<std::int64_t>(sums.size()), threads, [&](std::int64_t i) {
        const auto layer = static_cast<std::size_t>(i);
        window_means(workload.layers[layer], snapkv_window); // what scores begin with: one of the products of the floor
        const LayerAttention attention(workload.layers[layer]);
        for (std::size_t policy = 0; policy < workload.policies.size(); ++policy) {
            sums[layer] += sum_of(
                attention.losses(workload.rankings[policy][layer], workload.counts[policy][layer]).attn_out_l1);
        }
    });
    return sum_of(sums);
}

double naive_cells(const Workload& workload, std::int64_t cells, int threads)
{
    std::vector<double> sums(static_cast<std::size_t>(cells));
    parallel_items(cells, threads, [&](std::int64_t cell) {
        const auto losses = reference_losses(workload.layers.front(), kept_entries(workload, cell));
        sums[static_cast<std::size_t>(cell)] = sum_of(losses.attn_out_l1);
    });
    return sum_of(sums);
}

double same_cells(const Workload& workload, std::int64_t cells)
{
    const auto& layer = workload.layers.front();
    const auto& counts = workload.counts.front().front();
    const auto size = static_cast<std::size_t>(cells * layer.shape.num_kv_heads);
    return sum_of(
        LayerAttention(layer).losses(workload.rankings.front().front(), std::span(counts).first(size)).attn_out_l1);
}

} // namespace lava::bench
