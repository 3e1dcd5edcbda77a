#pragma once

#include "replay/division/allocation.h"
#include "replay/policies/numbers_file.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

namespace lava {

/// DuoAttention (Xiao et al. 2024, arXiv:2410.10819) as kvpress 0.5.5 has it: the lowest-scored heads of the model keep
/// the first and the most recent tokens, the others keep all. The scores come from a file [num_layers, num_kv_heads]
/// (full_attention_heads.tsv of its repository, for one). A budget given as ratio:r makes round(r * heads) heads
/// streaming, as kvpress's head_compression_ratio does; one in entries, the number whose total is nearest.
class DuoAttention : public Policy
{
public:
    explicit DuoAttention(const PolicyParams& params);

    LayerScores score(const LayerInputs& layer) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    std::int64_t streaming_heads(const BudgetRequest& request) const;

    std::int64_t sinks_;
    std::int64_t recent_;
    NumbersFile head_scores_;
};

} // namespace lava
