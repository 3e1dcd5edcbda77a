#pragma once

// All kernels at one vector width: what each file that is compiled for an instruction set defines.

#include "compute/cpu/kernels/attention_block.h"
#include "compute/cpu/kernels/attention_weights.h"
#include "compute/cpu/kernels/differences.h"
#include "compute/cpu/kernels/gather_block.h"
#include "compute/cpu/kernels/logit_divergence.h"
#include "compute/cpu/kernels/product_norms.h"
#include "compute/cpu/kernels/segment_sums.h"
#include "compute/cpu/kernels/window_scores.h"

namespace lava {

template <int bytes> constexpr Kernels kernels_of_width(const char* name)
{
    return {name, ProductTile<bytes>::columns, add_entries<bytes>, accumulate<bytes>, logits<bytes>,
        raise_maxima<bytes>, exponentials<bytes>, differences<bytes>, product_norms<bytes>, scores<bytes>,
        exponentiate_block<bytes>, row_products<bytes>, row_norms<bytes>, attend_block<bytes>, gather_block<bytes>,
        logit_divergence<bytes>};
}

extern const Kernels avx512_kernels;
extern const Kernels avx2_kernels;
extern const Kernels baseline_kernels;

} // namespace lava
