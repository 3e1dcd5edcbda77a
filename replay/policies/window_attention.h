#pragma once

#include "replay/allocation.h"
#include "replay/parameters.h"
#include "replay/policy.h"
#include "replay/scoring.h"

namespace lava {

/// Where SnapKV's score pools: before the query heads of a group are reduced to one, or after.
enum class GroupAt
{
    pre_pool,
    post_pool
};

/// SnapKV's score (Li et al. 2024, arXiv:2404.14469), which PyramidKV and AdaKV rank by too: attention of the last
/// queries, averaged over them, pooled along positions, one value per KV head.
struct SnapScore
{
    std::int64_t window = 32;
    std::int64_t kernel = 7;
    Pool pool = Pool::max;
    GroupReduction gqa = GroupReduction::mean;
    GroupAt gqa_at = GroupAt::pre_pool;

    explicit SnapScore(const PolicyParams& params)
        : window(params.integer("window"))
        , kernel(params.integer("kernel"))
        , pool(parse_pool(params.text("pool")))
        , gqa(parse_group_reduction(params.text("gqa")))
        , gqa_at(params.text("gqa_at") == "post_pool" ? GroupAt::post_pool : GroupAt::pre_pool)
    { }

    at::Tensor entries(const LayerInputs& layer) const // [num_kv_heads, seq_len - window]
    {
        const auto attention = layer.mean_window_attention(window);
        if (gqa_at == GroupAt::pre_pool) {
            return pool_positions(reduce_group(attention, layer.shape(), gqa), pool, kernel);
        }
        return reduce_group(pool_positions(attention, pool, kernel), layer.shape(), gqa);
    }

    static std::vector<ParameterInfo> parameters()
    {
        return {window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("mean"),
            choice_parameter(
                "gqa_at", "pre_pool", {"pre_pool", "post_pool"}, "reduce the group before or after pooling")};
    }
};

} // namespace lava
