#pragma once

#include "model/rope_config.h"
#include "traces/model_shape.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// What config.json of a Hugging Face folder says of a model of the families llama, mistral, qwen2, qwen3, smollm3 and
/// phi3. A key that is absent has the value that the family's configuration class in transformers 5.2 gives it. A value
/// that is unknown or contradictory is an Error naming file and key.
struct ModelConfig
{
    std::string text; ///< config.json as it is
    std::string model_type; ///< "llama"
    ModelShape shape;
    std::int64_t vocab_size = 0;
    std::int64_t intermediate_size = 0;
    std::int64_t max_position_embeddings = 0;
    std::int64_t context_length
        = 0; ///< tokens it can be run on: max_position_embeddings, or what its rope stretches to
    double rms_norm_eps = 0;
    RopeConfig rope;
    bool qkv_bias = false, output_bias = false, mlp_bias = false;
    bool qk_norm = false; ///< an RMS norm over each query and key head before the rotary embedding (Qwen3)
    bool fused_projections = false; ///< qkv_proj and gate_up_proj hold several matrices, one above the other (Phi-3)
    std::vector<bool> layer_has_rope; ///< [num_layers]; SmolLM3 rotates nothing in some layers
    std::vector<std::int64_t> layer_window; ///< [num_layers]: last keys that a query sees, its own included; 0: all
    bool tie_word_embeddings = false;
    std::string dtype; ///< "float32", "float16", "bfloat16": torch_dtype or dtype; empty where neither is given
    std::vector<std::int64_t> eos_token_ids;
    std::vector<std::string> assumed; ///< what the weights must fit to and config.json does not give: "head_dim 128"
};

ModelConfig read_model_config(const std::filesystem::path& model_folder);

/// Smallest sliding window of any layer; 0 where every layer sees everything.
std::int64_t smallest_window(const ModelConfig& config);

/// Throws Error where `fresh` tokens after `cached` ones exceed the context, or where longrope would have to rotate the
/// cached keys anew.
void check_length(const ModelConfig& config, std::int64_t cached, std::int64_t fresh);

} // namespace lava
