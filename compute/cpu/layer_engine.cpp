#include "compute/cpu/layer_engine.h"

#include "compute/parallel.h"

#include <algorithm>

namespace lava {

CpuLayerEngine::CpuLayerEngine(const LossInputs& inputs, int threads)
    : sizes_(inputs.sizes)
    , attention_(static_cast<std::size_t>(sizes_.num_kv_heads))
    , projection_(inputs)
    , full_outputs_(static_cast<std::size_t>(sizes_.num_heads * sizes_.steps * sizes_.head_dim))
{
    parallel_items(sizes_.num_kv_heads, threads, [&](std::int64_t kv_head) {
        attention_[static_cast<std::size_t>(kv_head)] = attend_head(inputs, kv_head);
        keep_full_output(kv_head);
    });
}

void CpuLayerEngine::keep_full_output(std::int64_t kv_head)
{
    const auto& head = attention_[static_cast<std::size_t>(kv_head)];
    const auto outputs = full_output(head);
    auto* to = full_outputs_.data() + kv_head * head.columns * head.head_dim;
    for (std::int64_t column = 0; column < head.columns; ++column) {
        std::copy_n(outputs.data() + column * head.dim, head.head_dim, to + column * head.head_dim);
    }
}

SetLosses CpuLayerEngine::losses(const SetRequest& request) const
{
    const auto sets = request.sets.size();
    const auto rows = sets * static_cast<std::size_t>(sizes_.steps);
    SetLosses losses;
    for (auto* norms : {&losses.head_output_l1, &losses.head_output_l2}) {
        norms->resize(rows * static_cast<std::size_t>(sizes_.num_heads));
    }
    losses.evicted_share.resize(losses.head_output_l1.size());
    losses.row_stride = projection_.row_stride();
    losses.head_stride = attention_.front().dim;
    losses.differences = std::make_unique_for_overwrite<float[]>(rows * static_cast<std::size_t>(losses.row_stride));
    const auto n = static_cast<std::size_t>(sizes_.seq_len);
    for (std::size_t head = 0; head < attention_.size(); ++head) {
        head_losses(
            static_cast<std::int64_t>(head), head_cuts(request.sets, head), {request.ranking + head * n, n}, losses);
    }
    losses.attn_out_l1.resize(rows);
    losses.attn_out_l2.resize(rows);
    projection_.norms(losses.differences.get(), static_cast<std::int64_t>(rows), losses.attn_out_l1.data(),
        losses.attn_out_l2.data());
    if (!request.wants_differences) {
        losses.differences.reset();
    }
    return losses;
}

// Of one KV head for every set, o - ô among them.
void CpuLayerEngine::head_losses(
    std::int64_t kv_head, const HeadCuts& cuts, std::span<const std::uint32_t> ranking, SetLosses& losses) const
{
    const auto& head = attention_[static_cast<std::size_t>(kv_head)];
    const auto columns = static_cast<std::size_t>(head.columns);
    EvictionSweep sweep(head, ranking, cuts.counts);
    std::vector<float*> rows(columns);
    std::vector<double> l1(columns);
    std::vector<double> l2(columns);
    for (auto cut = cuts.counts.size(); cut-- > 0;) {
        sweep.advance();
        for (const auto set : cuts.sets[cut]) {
            for (std::int64_t column = 0; column < head.columns; ++column) {
                const auto row = static_cast<std::int64_t>(set) * sizes_.steps + column % sizes_.steps;
                const auto query_head = kv_head * sizes_.group() + column / sizes_.steps;
                rows[static_cast<std::size_t>(column)]
                    = losses.differences.get() + row * losses.row_stride + query_head * losses.head_stride;
            }
            sweep.differences(rows.data(), l1.data(), l2.data());
            const auto at = (set * attention_.size() + static_cast<std::size_t>(kv_head)) * columns;
            for (std::size_t column = 0; column < columns; ++column) {
                losses.evicted_share[at + column] = sweep.evicted_share()[column];
                losses.head_output_l1[at + column] = static_cast<float>(l1[column]);
                losses.head_output_l2[at + column] = static_cast<float>(l2[column]);
            }
        }
    }
}

} // namespace lava
