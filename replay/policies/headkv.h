#pragma once

#include "replay/policies/compose.h"

namespace lava {

/// HeadKV as KVCache-Factory has it (Fu et al. 2024, arXiv:2410.19258): SnapKV's scores, and a fixed share of the
/// budget for every query head by a file of head importances. A share exceeds what exists where a head is important and
/// the prompt short, and is not handed on; the window comes on top, so that a head keeps budget + window on average.
class HeadKv : public Composed
{
public:
    /// Throws Error where the file does not hold importances.
    explicit HeadKv(const PolicyParams& params);

    LayerScores score(const LayerInputs& layer) const override;
    Allocation allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const override;

private:
    std::string file_;
    std::vector<double> shares_; // [num_layers * num_heads], of 1
};

/// Importances from a JSON object {"LAYER-HEAD": number or list of numbers}: each head's mean over the sum of all,
/// layers and heads ascending. Throws Error naming the file.
std::vector<double> read_head_shares(const std::string& file);

/// Entries of every query head besides the window: round(share * (budget // 1.01) * heads + budget - budget // 1.01),
/// halves to even (Python's // on floats).
std::vector<std::int64_t> headkv_capacities(std::span<const double> shares, std::int64_t budget);

} // namespace lava
