#pragma once

#include <cstdint>
#include <string_view>

namespace lava {

/// Which layers slide where config.json gives a window.
enum class Windows
{
    none, ///< the family has no windows
    all_layers,
    upper_layers, ///< where use_sliding_window is true: layer_types, or the layers from max_window_layers on
    unrotated_layers ///< where use_sliding_window is true: layer_types, or the layers without rotary embedding
};

/// Whether q, k and v and whether o has a bias.
enum class Bias
{
    none,
    qkv,
    as_configured ///< all four or none: attention_bias
};

/// What a family's configuration class in transformers 5.2 takes for keys that config.json lacks.
struct FamilyDefaults
{
    std::int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
    std::int64_t num_key_value_heads = 0; ///< 0: as many as attention heads
    std::int64_t head_dim = 0; ///< 0: hidden_size / num_attention_heads
    std::int64_t max_position_embeddings;
    double rms_norm_eps = 1e-6;
    double rope_theta = 10000;
    std::int64_t sliding_window = 0; ///< 0: none
    bool tie_word_embeddings = false;
    std::int64_t eos_token_id = -1; ///< -1: none
};

/// What sets the decoders apart, one row for each model_type.
struct ModelFamily
{
    std::string_view model_type;
    std::string_view architecture;
    Windows windows = Windows::none;
    Bias bias = Bias::none;
    bool has_mlp_bias = false; ///< as mlp_bias says
    bool qk_norm = false;
    bool fused = false;
    bool skips_rope = false; ///< as no_rope_layers says
    FamilyDefaults defaults;
};

/// Null where the decoder does not know it.
const ModelFamily* find_family(std::string_view model_type);

} // namespace lava
