#include "model/model_family.h"

#include <algorithm>
#include <array>

namespace lava {

namespace {

constexpr std::array families{
    ModelFamily{.model_type = "llama",
        .architecture = "LlamaForCausalLM",
        .bias = Bias::as_configured,
        .has_mlp_bias = true,
        .defaults = {.vocab_size = 32000,
            .hidden_size = 4096,
            .intermediate_size = 11008,
            .num_hidden_layers = 32,
            .num_attention_heads = 32,
            .max_position_embeddings = 2048,
            .eos_token_id = 2}},
    ModelFamily{.model_type = "mistral",
        .architecture = "MistralForCausalLM",
        .windows = Windows::all_layers,
        .defaults = {.vocab_size = 32000,
            .hidden_size = 4096,
            .intermediate_size = 14336,
            .num_hidden_layers = 32,
            .num_attention_heads = 32,
            .num_key_value_heads = 8,
            .max_position_embeddings = 131072,
            .sliding_window = 4096,
            .eos_token_id = 2}},
    ModelFamily{.model_type = "qwen2",
        .architecture = "Qwen2ForCausalLM",
        .windows = Windows::upper_layers,
        .bias = Bias::qkv,
        .defaults = {.vocab_size = 151936,
            .hidden_size = 4096,
            .intermediate_size = 22016,
            .num_hidden_layers = 32,
            .num_attention_heads = 32,
            .num_key_value_heads = 32,
            .max_position_embeddings = 32768,
            .sliding_window = 4096}},
    ModelFamily{.model_type = "qwen3",
        .architecture = "Qwen3ForCausalLM",
        .windows = Windows::upper_layers,
        .bias = Bias::as_configured,
        .qk_norm = true,
        .defaults = {.vocab_size = 151936,
            .hidden_size = 4096,
            .intermediate_size = 22016,
            .num_hidden_layers = 32,
            .num_attention_heads = 32,
            .num_key_value_heads = 32,
            .head_dim = 128,
            .max_position_embeddings = 32768,
            .sliding_window = 4096}},
    ModelFamily{.model_type = "smollm3",
        .architecture = "SmolLM3ForCausalLM",
        .windows = Windows::unrotated_layers,
        .bias = Bias::as_configured,
        .has_mlp_bias = true,
        .skips_rope = true,
        .defaults = {.vocab_size = 128256,
            .hidden_size = 2048,
            .intermediate_size = 11008,
            .num_hidden_layers = 36,
            .num_attention_heads = 16,
            .num_key_value_heads = 4,
            .max_position_embeddings = 32768,
            .rope_theta = 2000000,
            .tie_word_embeddings = true,
            .eos_token_id = 128001}},
    ModelFamily{.model_type = "phi3",
        .architecture = "Phi3ForCausalLM",
        .windows = Windows::all_layers,
        .fused = true,
        .defaults = {.vocab_size = 32064,
            .hidden_size = 3072,
            .intermediate_size = 8192,
            .num_hidden_layers = 32,
            .num_attention_heads = 32,
            .max_position_embeddings = 4096,
            .rms_norm_eps = 1e-5,
            .eos_token_id = 32000}},
};

} // namespace

const ModelFamily* find_family(std::string_view model_type)
{
    const auto* found = std::ranges::find(families, model_type, &ModelFamily::model_type);
    return found == families.end() ? nullptr : found;
}

} // namespace lava
