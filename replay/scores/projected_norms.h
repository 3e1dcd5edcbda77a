#pragma once

#include "replay/scores/scoring.h"

namespace lava {

/// [num_kv_heads, seq_len] fp32: ||v_i W_O,h||_1, the mean over the group's query heads h (CriticalKV, DefensiveKV).
at::Tensor projected_value_norms(const LayerInputs& layer);

} // namespace lava
