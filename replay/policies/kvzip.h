#pragma once

#include "replay/policies/numbers_file.h"
#include "replay/policies/parameters.h"
#include "replay/policy.h"

#include <optional>

namespace lava {

/// KVzip (Kim et al. 2025, arXiv:2505.23416) as kvpress 0.5.5 has it: what the model attends to while it repeats the
/// prompt, recorded in the trace or in a file [num_layers, num_kv_heads, seq_len]; the first tokens rank above all. The
/// int(r L heads N) lowest of all layers are evicted, wherever they are, or (layerwise) int(r heads N) of each.
class KvZip : public Policy
{
public:
    explicit KvZip(const PolicyParams& params);

    PolicyNeeds needs() const override;
    bool compares_heads() const override { return true; }
    LayerScores score(const LayerInputs& layer) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

    static std::vector<ParameterInfo> parameters();

private:
    std::int64_t sinks_;
    bool layerwise_;
    bool plus_;
    std::optional<NumbersFile> scores_;
};

} // namespace lava
