#include "model/rope.h"

#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lava {

namespace {

/// theta^(2i / dim), [dim / 2] float32.
at::Tensor wavelengths(const RopeConfig& config)
{
    const auto exponents = at::arange(0, config.dim, 2, at::kFloat) / static_cast<double>(config.dim);
    return at::pow(at::Scalar(config.theta), exponents);
}

/// NTK-aware scaling of theta: unchanged up to the original context, then grown so that the longest wavelength is
/// stretched as much as the sequence.
at::Tensor dynamic_frequencies(const RopeConfig& config, std::int64_t seq_len)
{
    const auto dim = static_cast<double>(config.dim);
    // float32 as in transformers, where the length of the sequence is a tensor
    const auto grown
        = at::scalar_tensor(seq_len, at::kLong) * config.factor / static_cast<double>(config.original_context)
        - (config.factor - 1);
    const auto theta = at::pow(grown, dim / (dim - 2)) * config.theta;
    return at::pow(theta, at::arange(0, config.dim, 2, at::kFloat) / dim).reciprocal();
}

/// Wavelengths that fit into the original context high_freq_factor times stay, those that fit less than low_freq_factor
/// times are stretched, in between linearly (Llama 3.1).
at::Tensor llama3_frequencies(const RopeConfig& config)
{
    const auto original = static_cast<double>(config.original_context);
    const auto plain = wavelengths(config).reciprocal();
    const auto wavelength = plain.reciprocal() * (2 * std::numbers::pi);
    const auto is_long = wavelength > original / config.low_freq_factor;
    const auto is_short = wavelength < original / config.high_freq_factor;
    const auto stretched = at::where(is_long, plain / config.factor, plain);
    const auto share = (wavelength.reciprocal() * original - config.low_freq_factor)
        / (config.high_freq_factor - config.low_freq_factor);
    const auto smooth = at::rsub(share, 1) * stretched / config.factor + share * stretched;
    return at::where(is_long.logical_or(is_short), stretched, smooth);
}

/// The dimension whose wavelength fits into the original context `rotations` times (Peng et al. 2023, eq. 17).
double yarn_dimension(const RopeConfig& config, double rotations)
{
    const double wavelength = static_cast<double>(config.original_context) / (rotations * 2 * std::numbers::pi);
    return static_cast<double>(config.dim) * std::log(wavelength) / (2 * std::log(config.theta));
}

/// Frequencies below the ramp's begin stay, those above its end are divided by the factor (Peng et al. 2023, eq.
/// 20-21).
at::Tensor yarn_frequencies(const RopeConfig& config)
{
    double low = yarn_dimension(config, config.beta_fast), high = yarn_dimension(config, config.beta_slow);
    if (config.truncate) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(config.dim - 1));
    if (low == high)
        high += 0.001; // transformers' way out of a division by zero
    const auto ramp = ((at::arange(config.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
    const auto kept = at::rsub(ramp, 1);
    const auto plain = wavelengths(config);
    return (plain * config.factor).reciprocal() * at::rsub(kept, 1) + plain.reciprocal() * kept;
}

at::Tensor longrope_frequencies(const RopeConfig& config, std::int64_t seq_len)
{
    const auto& factors = seq_len > config.original_context ? config.long_factor : config.short_factor;
    return (at::tensor(factors, at::kDouble).to(at::kFloat) * wavelengths(config)).reciprocal();
}

} // namespace

at::Tensor inverse_frequencies(const RopeConfig& config, std::int64_t seq_len)
{
    switch (config.type) {
    case RopeType::standard:
        break;
    case RopeType::linear:
        return wavelengths(config).reciprocal() / config.factor;
    case RopeType::dynamic:
        if (seq_len > config.original_context)
            return dynamic_frequencies(config, seq_len);
        break;
    case RopeType::llama3:
        return llama3_frequencies(config);
    case RopeType::yarn:
        return yarn_frequencies(config);
    case RopeType::longrope:
        return longrope_frequencies(config, seq_len);
    }
    return wavelengths(config).reciprocal();
}

Rope rope(const at::Tensor& positions, std::int64_t seq_len, const RopeConfig& config, at::ScalarType dtype)
{
    const auto frequencies = inverse_frequencies(config, seq_len).to(positions.device());
    // exact in float32 up to position 2^24
    const auto half = positions.to(at::kFloat).unsqueeze(1) * frequencies; // [n, dim / 2]
    const auto angles = at::cat({half, half}, 1);
    const auto scaled = [&](const at::Tensor& value) { return (value * config.attention_factor).to(dtype); };
    // one thread: ATen rounds the last elements of what a thread is given differently
    const SingleThreaded single;
    return {scaled(angles.cos()), scaled(angles.sin())};
}

Rope on_device(const Rope& rope, const at::Device& device)
{
    return {rope.cos.to(device), rope.sin.to(device)};
}

at::Tensor apply_rope(const at::Tensor& x, const Rope& rope)
{
    const auto dim = rope.cos.size(-1), half = dim / 2;
    const auto turned = x.narrow(-1, 0, dim);
    const auto rotated = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
    const auto result = turned * rope.cos + rotated * rope.sin;
    return dim == x.size(-1) ? result : at::cat({result, x.narrow(-1, dim, x.size(-1) - dim)}, -1);
}

} // namespace lava
