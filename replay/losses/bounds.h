#pragma once

#include "traces/layer_view.h"

#include <vector>

namespace lava {

/// What the upper bounds of the layer attention output loss need of a layer, whatever is evicted. With m_h the evicted
/// mass of query head h, all bound ||y - ŷ||_1:
///   bound_lava      2 row_sum sum_h value_norm[h / group] m_h      (Shen et al. 2025, Theorem 1)
///   bound_adakv     2 max_h projected_norm[h] sum_h m_h            (Feng et al. 2024; Shen et al., Eq. 25)
///   bound_projected 2 sum_h projected_norm[h] m_h                  (ours; never above bound_adakv)
/// Maxima run over all entries the query sees: the prompt's, and decode entries up to its own.
struct BoundTerms
{
    double row_sum = 0; ///< max over input rows r of W_O of sum_c |W_O[r][c]|
    std::vector<double> value_norm; ///< [num_kv_heads, T] max_i ||v_i||_1
    std::vector<double> projected_norm; ///< [num_heads, T] max_i ||v_i W_O,h||_1
};

/// `threads` share the work over heads.
BoundTerms bound_terms(const LayerView& layer, int threads = 1);

} // namespace lava
