#pragma once

// All inner loops at one vector width: what each file that is compiled for an instruction set defines.

#include "compute/cpu/kernels/attention_block.h"
#include "compute/cpu/kernels/attention_weights.h"
#include "compute/cpu/kernels/differences.h"
#include "compute/cpu/kernels/gather_block.h"
#include "compute/cpu/kernels/instruction_sets.h"
#include "compute/cpu/kernels/logit_divergence.h"
#include "compute/cpu/kernels/product_norms.h"
#include "compute/cpu/kernels/row_functions.h"
#include "compute/cpu/kernels/segment_sums.h"
#include "compute/cpu/kernels/tile_attention.h"
#include "compute/cpu/kernels/window_scores.h"

namespace lava {

template <int bytes> constexpr Arithmetic arithmetic_of_width(const char* name)
{
    return {name, {Simd<bytes>::floats, RegisterTile<bytes>::floats, pack_keys<bytes>, attend_tile<bytes>},
        {rms_norm<bytes>, gate<bytes>, rotate<bytes>, dots<bytes>, norm_change<bytes>, activate<bytes>,
            gate_change<bytes>},
        {ProductTile<bytes>::columns, add_entries<bytes>, accumulate<bytes>, logits<bytes>, raise_maxima<bytes>,
            exponentials<bytes>, differences<bytes>, product_norms<bytes>, scores<bytes>, exponentiate_block<bytes>,
            row_products<bytes>, row_norms<bytes>, attend_block<bytes>, gather_block<bytes>, logit_divergence<bytes>}};
}

} // namespace lava
