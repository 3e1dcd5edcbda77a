#pragma once

// Terms of KL(p || p̂) over a stretch of the vocabulary, and its most likely token.

#include "compute/cpu/kernels/exponential.h"
#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

/// p (e^u - 1 - u). Near 0 by its series, elsewhere p e^u is formed from log p, as u may be large where p vanishes.
template <int bytes>
typename Simd<bytes>::Floats divergence_terms(
    typename Simd<bytes>::Floats u, typename Simd<bytes>::Floats log_p, typename Simd<bytes>::Floats p)
{
    using Floats = typename Simd<bytes>::Floats;
    Floats series = Simd<bytes>::all(1.0F / 40320);
    for (const float coefficient : {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F}) {
        series = series * u + coefficient;
    }
    const Floats small = p * u * u * series;
    const Floats exponent = log_p + u;
    const Floats large = exp_gradual<bytes>(exponent < 88.0F ? exponent : Simd<bytes>::all(88.0F)) - p * (u + 1.0F);
    return Simd<bytes>::magnitude(u) < 0.5F ? small : large;
}

template <int bytes>
double logit_divergence(const LogitChange& change, std::int64_t count, float& best, std::int64_t& best_index)
{
    using S = Simd<bytes>;
    using Floats = typename S::Floats;
    Floats sum = {};
    Floats top = S::all(best);
    std::int64_t i = 0;
    for (; i + S::floats <= count; i += S::floats) {
        const auto delta = S::load(change.delta + i);
        sum += divergence_terms<bytes>(delta - change.mean, S::load(change.log_p + i), S::load(change.p + i));
        const Floats logit = S::load(change.logits + i) + delta;
        top = S::larger(logit, top);
    }
    double total = S::sum_in_double(sum);
    bool better = S::largest(top) > best;
    for (; i < count; ++i) {
        total += divergence_terms<bytes>(
            S::all(change.delta[i] - change.mean), S::all(change.log_p[i]), S::all(change.p[i]))[0];
        better = better || change.logits[i] + change.delta[i] > best;
    }
    for (i = 0; better && i < count; ++i) {
        const float logit = change.logits[i] + change.delta[i];
        if (logit > best) {
            best = logit;
            best_index = i;
        }
    }
    return total;
}

} // namespace lava
