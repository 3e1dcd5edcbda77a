#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lava {

class ConfigSection;

/// How the rotary embedding's frequencies are stretched for contexts beyond the one of training.
enum class RopeType
{
    standard, ///< not at all: "default"
    linear, ///< all by one factor
    dynamic, ///< theta grows with the sequence (NTK-aware)
    llama3, ///< long wavelengths by a factor, short ones not
    yarn, ///< wavelengths scaled by a ramp over dimensions, and attention sharpened (Peng et al. 2023,
          ///< arXiv:2309.00071)
    longrope ///< one factor a dimension, others beyond the original context (Ding et al. 2024, arXiv:2402.13753)
};

/// The rotary embedding of a model as config.json gives it, with the defaults of transformers 5.2 filled in.
struct RopeConfig
{
    RopeType type = RopeType::standard;
    double theta = 0;
    std::int64_t dim = 0; ///< leading dimensions of a head that are rotated, even; the rest stays as it is
    double factor = 1;
    std::int64_t original_context = 0; ///< dynamic, llama3, yarn, longrope: the context of training
    double attention_factor = 1; ///< yarn, longrope: times cos and sin
    double low_freq_factor = 0, high_freq_factor = 0; ///< llama3
    double beta_fast = 0, beta_slow = 0; ///< yarn: rotations over the original context between which the ramp lies
    bool truncate = false; ///< yarn: the ramp begins and ends at whole dimensions
    std::string note; ///< what runtimes disagree on, and which way it is taken; empty: nothing
    std::vector<double> short_factor, long_factor; ///< longrope, [dim / 2]
};

/// What of config.json does not stand in the rotary embedding's own section.
struct RopeContext
{
    std::int64_t head_dim = 0;
    std::int64_t max_position_embeddings = 0;
    double default_theta = 10000; ///< where rope_theta is absent
    bool is_phi3 = false; ///< rotates a share of each head, looks for the original context at the top level first, and
                          ///< its files once called longrope yarn
};

/// Reads rope_parameters (transformers 5) or rope_theta and rope_scaling (before) of the top level. Throws Error naming
/// file and key for an unknown type or parameter, and for what contradicts itself.
RopeConfig read_rope_config(const ConfigSection& config, const RopeContext& context);

/// Tokens that the embedding is meant for.
std::int64_t context_length(const RopeConfig& rope, std::int64_t max_position_embeddings);

} // namespace lava
