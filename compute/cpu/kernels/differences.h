#pragma once

// o - ô at every cut of a ranking, from the lowest rank up.

#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

template <int bytes>
void difference_of_column(const DifferenceStep& step, const float* segment, double* evicted, std::int64_t column,
    float* row, double* l1, double* l2)
{
    using S = Simd<bytes>;
    const auto begin = column * step.dim;
    const auto inverse_kept = step.inverse_kept[column];
    const auto mass_ratio = step.mass_ratio[column];
    typename S::Doubles magnitudes = {};
    typename S::Doubles squares = {};
    for (std::int64_t i = 0; i < step.dim; i += S::doubles) {
        auto e = S::load(evicted + begin + i);
        if (segment != nullptr) {
            e += S::widened(segment + begin + i);
            S::store(evicted + begin + i, e);
        }
        const auto full = S::load(step.full + begin + i);
        const typename S::Doubles difference = e * inverse_kept - full * mass_ratio;
        magnitudes += S::magnitude(difference);
        squares += difference * difference;
        S::store_narrowed(row + i, difference);
    }
    l1[column] = S::sum(magnitudes);
    l2[column] = __builtin_sqrt(S::sum(squares));
}

template <int bytes>
void differences(
    const DifferenceStep& step, const float* segment, double* evicted, float* const* rows, double* l1, double* l2)
{
    for (std::int64_t column = 0; column < step.columns; ++column) {
        difference_of_column<bytes>(step, segment, evicted, column, rows[column], l1, l2);
    }
}

} // namespace lava
