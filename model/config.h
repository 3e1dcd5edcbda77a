#pragma once

#include "traces/model_shape.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lava {

/// What config.json of a Hugging Face folder says. A value that is missing, unknown or contradictory is an Error naming
/// file and key, never a default.
struct ModelConfig
{
    std::string text; ///< config.json as it is
    std::string model_type; ///< "llama"
    ModelShape shape;
    std::int64_t vocab_size = 0;
    std::int64_t intermediate_size = 0;
    std::int64_t max_position_embeddings = 0;
    double rms_norm_eps = 0;
    double rope_theta = 0; ///< top level, or in rope_parameters (transformers 5)
    bool tie_word_embeddings = false;
    std::string dtype; ///< "float32", "float16", "bfloat16": torch_dtype or dtype; empty where neither is given
    std::vector<std::int64_t> eos_token_ids;
};

ModelConfig read_model_config(const std::filesystem::path& model_folder);

} // namespace lava
