#include "replay/losses/logit_loss.h"

#include "compute/cpu/arithmetic.h"
#include "compute/linear.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

namespace lava {

namespace {

constexpr std::int64_t logit_panel = 512; // columns of the vocabulary whose logits are held at once

double dot(const float* a, const float* b, std::int64_t count)
{
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i)
        sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

double dot(const float* a, const double* b, std::int64_t count)
{
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i)
        sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

std::vector<std::int64_t> to_ids(const at::Tensor& ids)
{
    return {ids.const_data_ptr<std::int64_t>(), ids.const_data_ptr<std::int64_t>() + ids.numel()};
}

/// E_p of lm_head's rows, [steps, hidden_size] float64; p: [steps, vocab_size] float64.
at::Tensor mean_row(const at::Tensor& p, const Decoder& decoder)
{
    const auto vocab = p.size(1);
    auto mean = at::zeros({p.size(0), decoder.config().shape.hidden_size}, at::kDouble);
    for (std::int64_t first = 0; first < vocab; first += logit_panel) {
        const auto width = std::min(logit_panel, vocab - first);
        mean.addmm_(p.narrow(1, first, width), decoder.lm_head(first, width).to(at::kDouble));
    }
    return mean;
}

} // namespace

DensePredictions::DensePredictions(
    const Decoder& decoder, const at::Tensor& resid, std::span<const std::int64_t> targets)
    : decoder_(decoder)
    , steps_(resid.size(0))
    , targets_(targets.begin(), targets.end())
{
    const c10::InferenceMode inference;
    targets_.resize(static_cast<std::size_t>(steps_), -1);
    normalized_ = decoder.normalize(resid);
    logits_ = decoder.logits(normalized_);
    const auto log_p = at::log_softmax(logits_.to(at::kDouble), 1);
    const auto p = log_p.exp();
    mean_row_ = mean_row(p, decoder);
    log_p_ = log_p.to(at::kFloat);
    p_ = p.to(at::kFloat);
    top_ids_ = to_ids(logits_.argmax(1));
    for (std::int64_t step = 0; step < steps_; ++step) {
        const auto target = targets_[static_cast<std::size_t>(step)];
        cross_entropy_.push_back(target < 0 ? 0 : -log_p[step][target].item<double>());
    }
}

LogitLosses DensePredictions::losses(const at::Tensor& resid) const
{
    const auto tokens = resid.size(0), hidden = resid.size(1), vocab = decoder_.config().vocab_size;
    const auto difference = (decoder_.normalize(resid).view({-1, steps_, hidden}) - normalized_).view({tokens, hidden});
    const auto count = static_cast<std::size_t>(tokens);
    std::vector<double> mean(count), sum(count);
    for (std::int64_t t = 0; t < tokens; ++t)
        mean[static_cast<std::size_t>(t)] = dot(difference.const_data_ptr<float>() + t * hidden,
            mean_row_.const_data_ptr<double>() + t % steps_ * hidden, hidden);

    std::vector<float> best(count, -INFINITY);
    LogitLosses losses{std::vector<double>(count), std::vector<double>(count), std::vector<std::int64_t>(count)};
    for (std::int64_t first = 0; first < vocab; first += logit_panel) {
        const auto width = std::min(logit_panel, vocab - first);
        const auto deltas = project(difference, decoder_.lm_head(first, width));
        for (std::int64_t t = 0; t < tokens; ++t) {
            const auto i = static_cast<std::size_t>(t);
            const auto offset = t % steps_ * vocab + first;
            const LogitChange change{deltas.const_data_ptr<float>() + t * width, static_cast<float>(mean[i]),
                logits_.const_data_ptr<float>() + offset, log_p_.const_data_ptr<float>() + offset,
                p_.const_data_ptr<float>() + offset};
            std::int64_t place = -1;
            sum[i] += kernels().logit_divergence(change, width, best[i], place);
            if (place >= 0)
                losses.top_ids[i] = first + place;
        }
    }
    for (std::int64_t t = 0; t < tokens; ++t) {
        const auto i = static_cast<std::size_t>(t);
        losses.kl[i] = std::log1p(sum[i]);
        const auto step = static_cast<std::size_t>(t % steps_);
        if (const auto target = targets_[step]; target >= 0) {
            const auto row = decoder_.lm_head(target, 1);
            const auto delta
                = dot(difference.const_data_ptr<float>() + t * hidden, row.const_data_ptr<float>(), hidden);
            // -log p_hat(target), log of the normaliser being KL + E_p[d]
            losses.cross_entropy[i] = std::max(0.0, cross_entropy_[step] + (losses.kl[i] + mean[i] - delta));
        }
    }
    return losses;
}

} // namespace lava
