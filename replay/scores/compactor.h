#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lava {

// The pieces of Compactor (Chari et al. 2025, arXiv:2507.08143) as kvpress 0.5.5 computes them.

/// How keys are sketched before their leverage is computed: times a Gaussian matrix [head_dim, dimension] /
/// sqrt(dimension) of each head, or (dimension 0) not at all. It is what torch.randn() gives in the layer's turn after
/// torch.manual_seed(seed), every layer having drawn its own before; kvpress itself seeds nothing.
struct Sketch
{
    std::int64_t dimension = 48;
    std::uint64_t seed = 0;
    std::int64_t layer = 0;
};

/// [heads, tokens]: x_i^T (X^T X + jitter)^-1 x_i, at least 0, of the centred and sketched keys. k: [heads, tokens,
/// head_dim], before the rotary embedding. The jitter is 0.01, ten times that until X^T X has a Cholesky factor;
/// throws Error where five do not do.
at::Tensor leverage_scores(const at::Tensor& k, const Sketch& sketch);

/// [heads, tokens]: what every key is paid by the queries of its chunk, all of them, future ones included, by the
/// softmax of q.k without 1 / sqrt(head_dim). q, k: [heads, tokens, head_dim]. kvpress pads the last chunk with tokens
/// of logit 0, which count as keys and as queries; so here.
at::Tensor chunk_attention_sums(const at::Tensor& q, const at::Tensor& k, std::int64_t chunk);

/// Minus the mean, over the standard deviation (over n - 1, at least 1e-6), of all heads together.
at::Tensor standardised(const at::Tensor& scores);

} // namespace lava
