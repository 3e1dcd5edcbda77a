#pragma once

#include "traces/layer_view.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lava {

/// Attention of a layer's evaluation steps to one KV head. Columns are (query head of the group, step):
/// column = head_in_group * T + step. Rows are entries: the prompt's N, then the T decode entries.
struct HeadAttention
{
    std::int64_t prompt = 0; ///< N
    std::int64_t columns = 0;
    std::int64_t head_dim = 0;
    at::Tensor weights; ///< [N + T, columns] fp32: exp(logit - column maximum), 0 where the step does not see the entry
    at::Tensor values; ///< [N + T, head_dim]
    at::Tensor keys; ///< [N + T, head_dim]
    at::Tensor queries; ///< [columns, head_dim]
    std::int64_t steps = 0; ///< T
};

HeadAttention attend(const LayerView& layer, std::int64_t kv_head);

/// [columns, head_dim]: outputs with the whole cache.
at::Tensor full_output(const HeadAttention& head);

/// Sums over a set of entries.
struct WeightSums
{
    std::vector<double> mass; ///< [columns] sum of weights
    std::vector<double> value; ///< [columns, head_dim] sum of weights times values
};

/// A ranking cut in two. Decode entries count as kept.
struct Cut
{
    WeightSums kept;
    WeightSums evicted;
};

/// Cuts of a head's ranking [N] after the first counts[i] entries; counts ascending and distinct. One pass over the
/// ranking for all of them. Evicted sums grow from the lowest rank up, kept ones from the highest down: neither is a
/// difference.
std::vector<Cut> cut_ranking(
    const HeadAttention& head, std::span<const std::uint32_t> ranking, std::span<const std::int64_t> counts);

/// o - ô of one column into difference [head_dim]; returns the share of the attention that is evicted. `kept` are the
/// retained prompt entries, read only where their weights are too small for fp32.
double output_difference(const HeadAttention& head, const Cut& cut, std::span<const std::uint32_t> kept,
    std::int64_t column, double* difference);

} // namespace lava
