#pragma once

#include "model/decoder.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lava {

/// How the predictions of a row differ from those of the dense run.
struct LogitLosses
{
    std::vector<double> kl; ///< [tokens] KL(dense || row), nats
    std::vector<double> cross_entropy; ///< [tokens] of the target; 0 where there is none
    std::vector<std::int64_t> top_ids; ///< [tokens] most likely token; the first of equal ones
};

/// What the dense run predicts at every step, and how far from it others are. Logits of the others are never held:
/// with l and l + d the logits of both, u = d - E_p[d] and f(u) = exp(u) - 1 - u, KL = log(1 + E_p[f(u)]), a sum of
/// terms that are at least 0, so that the smallest divergence is as exact as the largest; d comes from a product of
/// lm_head with the difference of what both runs feed it, panel by panel.
class DensePredictions
{
public:
    /// resid: [steps, hidden_size], the dense run's residual stream after the last layer. targets: [steps - 1] or
    /// [steps], the token that follows each step.
    DensePredictions(const Decoder& decoder, const at::Tensor& resid, std::span<const std::int64_t> targets);

    const std::vector<std::int64_t>& top_ids() const { return top_ids_; } ///< [steps]
    const std::vector<double>& cross_entropy() const { return cross_entropy_; } ///< [steps], as in LogitLosses

    const at::Tensor& log_p() const { return log_p_; } ///< [steps, vocab_size] float32

    /// resid: [rows * steps, hidden_size] of other rows. May be called from several threads.
    LogitLosses losses(const at::Tensor& resid) const;

private:
    const Decoder& decoder_;
    std::int64_t steps_;
    std::vector<std::int64_t> targets_;
    at::Tensor normalized_; // [steps, hidden_size]: what lm_head reads
    at::Tensor logits_; // [steps, vocab_size]
    at::Tensor log_p_, p_; // [steps, vocab_size] float32
    at::Tensor mean_row_; // [steps, hidden_size] float64: E_p of lm_head's rows
    std::vector<std::int64_t> top_ids_;
    std::vector<double> cross_entropy_;
};

} // namespace lava
