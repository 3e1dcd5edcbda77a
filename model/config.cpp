#include "model/config.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/json_text.h"
#include "model/config_section.h"
#include "model/lfs_pointer.h"
#include "model/model_family.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

namespace lava {

namespace {

using nlohmann::json;

/// Settings of other decoders and of derived ones, which would change the arithmetic, and what they must be.
struct Neutral
{
    const char* key;
    json value;
};
const std::vector<Neutral>& neutral_settings()
{
    static const std::vector<Neutral> settings{{"attn_logit_softcapping", nullptr},
        {"final_logit_softcapping", nullptr}, {"query_pre_attn_scalar", nullptr}, {"attention_multiplier", 1.0},
        {"residual_multiplier", 1.0}, {"embedding_multiplier", 1.0}, {"logits_scaling", 1.0}, {"logit_scale", 1.0},
        {"scale_emb", 1}, {"scale_depth", 1}, {"clip_qkv", nullptr}, {"qk_layernorm", false}, {"use_qk_norm", false},
        {"alibi", false}, {"rope_interleaved", false}, {"lm_head_bias", false}, {"full_attn_mod", 1},
        {"num_local_experts", nullptr}, {"num_experts", nullptr}, {"attention_chunk_size", nullptr},
        {"sliding_window_pattern", nullptr}, {"quantization_config", nullptr}};
    return settings;
}

std::string read_text(const std::filesystem::path& file)
{
    refuse_lfs_pointer(file);
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    if (!in || !(text << in.rdbuf()))
        throw Error(file.string() + ": cannot be read; expected the config.json of a Hugging Face model folder");
    return text.str();
}

/// Attention that keeps something else than keys and values of all layers in one shape, in families that are not known
/// here either.
void refuse_other_caches(const ConfigSection& config)
{
    if (config.find("kv_lora_rank")) {
        config.fail("kv_lora_rank",
            "multi-head latent attention is not supported: it caches one compressed vector for each token, a trace "
            "holds "
            "keys and values of heads; found "
                + config.require("kv_lora_rank").dump());
    }
    for (const char* key : {"head_dim", "num_attention_heads", "num_query_heads", "num_key_value_heads", "num_kv_heads",
             "block_configs"}) {
        if (const json* value = config.find(key); value && value->is_array())
            config.fail(key,
                "heads that differ by layer are not supported, a trace has one shape for all layers; found "
                    + value->dump().substr(0, 60));
    }
    const json* wider = config.find("global_head_dim");
    if (wider && (!config.find("head_dim") || *wider != config.require("head_dim")))
        config.fail("global_head_dim",
            "head_dim that differs by layer is not supported, a trace has one for all layers; found " + wider->dump());
}

const ModelFamily& family_of(const ConfigSection& config)
{
    const std::string model_type = config.text("model_type");
    const ModelFamily* family = find_family(model_type);
    if (!family)
        config.fail("model_type",
            "expected llama, mistral, qwen2, qwen3, smollm3 or phi3, found '" + model_type
                + "'; capture/python/lava_capture.py records other families through transformers");
    const json expected = json::array({family->architecture});
    if (config.find("architectures") && config.require("architectures") != expected)
        config.fail(
            "architectures", "expected " + expected.dump() + ", found " + config.require("architectures").dump());
    return *family;
}

void refuse_unsupported(const ConfigSection& config, const ModelFamily& family)
{
    const std::string activation = config.lacks("hidden_act") ? "silu" : config.text("hidden_act");
    if (activation != "silu" && activation != "swish") // two names of one function
        config.fail("hidden_act", "only \"silu\" is supported, found \"" + activation + "\"");
    for (const auto& [key, value] : neutral_settings()) {
        const json* found = config.find(key);
        if (found && *found != value)
            config.fail(key, "not supported, found " + found->dump());
    }
    if (family.bias != Bias::as_configured)
        config.expect_if_given("attention_bias", family.bias == Bias::qkv);
    if (!family.has_mlp_bias)
        config.expect_if_given("mlp_bias", false);
    if (!family.skips_rope && config.find("no_rope_layers"))
        config.fail("no_rope_layers", "not supported in a model of type " + std::string(family.model_type));
}

/// The key's value; where it is absent, the family's, of which `assumed` takes note.
std::int64_t size_or_default(
    const ConfigSection& config, const std::string& key, std::int64_t absent, std::vector<std::string>& assumed)
{
    if (!config.lacks(key))
        return config.size(key);
    assumed.push_back(formatted("{} {}", key, absent));
    return absent;
}

void read_kv_heads(const ConfigSection& config, const ModelFamily& family, ModelConfig& result)
{
    const std::string key = "num_key_value_heads";
    ModelShape& shape = result.shape;
    const bool fixed = config.lacks(key) && family.defaults.num_key_value_heads > 0;
    shape.num_kv_heads = fixed ? size_or_default(config, key, family.defaults.num_key_value_heads, result.assumed)
                               : config.size_or(key, shape.num_heads);
    if (shape.num_heads % shape.num_kv_heads != 0)
        config.fail(key,
            formatted("expected a divisor of num_attention_heads {}, found {}{}", shape.num_heads,
                fixed ? "none, for which transformers takes " : "", shape.num_kv_heads));
}

void read_head_dim(const ConfigSection& config, const ModelFamily& family, ModelConfig& result)
{
    ModelShape& shape = result.shape;
    if (config.find("head_dim") || (config.lacks("head_dim") && family.defaults.head_dim > 0)) {
        shape.head_dim = size_or_default(config, "head_dim", family.defaults.head_dim, result.assumed);
        return;
    }
    if (family.defaults.head_dim > 0)
        config.fail("head_dim", "expected a number, found null, which transformers does not load either");
    if (shape.hidden_size % shape.num_heads != 0)
        config.fail("hidden_size",
            formatted("expected a multiple of num_attention_heads {} where head_dim is not given, found {}",
                shape.num_heads, shape.hidden_size));
    shape.head_dim = shape.hidden_size / shape.num_heads;
}

void read_sizes(const ConfigSection& config, const ModelFamily& family, ModelConfig& result)
{
    const auto size
        = [&](const char* key, std::int64_t absent) { return size_or_default(config, key, absent, result.assumed); };
    const FamilyDefaults& defaults = family.defaults;
    result.shape.num_layers = size("num_hidden_layers", defaults.num_hidden_layers);
    result.shape.num_heads = size("num_attention_heads", defaults.num_attention_heads);
    result.shape.hidden_size = size("hidden_size", defaults.hidden_size);
    read_kv_heads(config, family, result);
    read_head_dim(config, family, result);
    result.vocab_size = size("vocab_size", defaults.vocab_size);
    result.intermediate_size = size("intermediate_size", defaults.intermediate_size);
    result.max_position_embeddings = size("max_position_embeddings", defaults.max_position_embeddings);
}

RopeConfig read_rope(const ConfigSection& config, const ModelFamily& family, const ModelConfig& model)
{
    return read_rope_config(config,
        {.head_dim = model.shape.head_dim,
            .max_position_embeddings = model.max_position_embeddings,
            .default_theta = family.defaults.rope_theta,
            .is_phi3 = family.model_type == "phi3"});
}

/// no_rope_layers holds a 1 for each layer that rotates; where it is absent, every no_rope_layer_interval-th does not.
std::vector<bool> read_rotated_layers(const ConfigSection& config, const ModelFamily& family, std::int64_t num_layers)
{
    std::vector<bool> rotated(static_cast<std::size_t>(num_layers), true);
    if (!family.skips_rope)
        return rotated;
    const json* given = config.find("no_rope_layers");
    if (!given) {
        const std::int64_t interval = config.size_or("no_rope_layer_interval", 4);
        for (std::int64_t layer = 0; layer < num_layers; ++layer)
            rotated[static_cast<std::size_t>(layer)] = (layer + 1) % interval != 0;
        return rotated;
    }
    const auto is_flag = [](const json& flag) { return flag == 0 || flag == 1; };
    if (!given->is_array() || std::ssize(*given) != num_layers || !std::all_of(given->begin(), given->end(), is_flag))
        config.fail("no_rope_layers",
            formatted("expected {} numbers 0 or 1, one for each layer, found {}", num_layers, given->dump()));
    std::transform(given->begin(), given->end(), rotated.begin(), [](const json& flag) { return flag == 1; });
    return rotated;
}

/// The window, 0 where there is none. The key that says whether there is one must not contradict the window itself.
std::int64_t read_window(const ConfigSection& config, const ModelFamily& family)
{
    const char* key = "sliding_window";
    const std::int64_t absent = config.lacks(key) ? family.defaults.sliding_window : 0; // null: none
    const std::int64_t window = config.size_or(key, absent);
    switch (family.windows) {
    case Windows::none:
        if (window > 0 && config.boolean_or("use_sliding_window", true))
            config.fail(key, formatted("not supported in a model of type {}, found {}", family.model_type, window));
        return 0;
    case Windows::all_layers:
        config.expect_if_given("use_sliding_window", window > 0);
        return window;
    case Windows::upper_layers:
    case Windows::unrotated_layers:
        break;
    }
    return config.boolean_or("use_sliding_window", false) ? window : 0;
}

bool slides_by_default(
    const ConfigSection& config, const ModelFamily& family, const ModelConfig& model, std::int64_t layer)
{
    if (family.windows == Windows::upper_layers)
        return layer >= (config.lacks("max_window_layers") ? 28 : config.count("max_window_layers"));
    return family.windows == Windows::all_layers || !model.layer_has_rope[static_cast<std::size_t>(layer)];
}

std::vector<std::int64_t> read_windows(const ConfigSection& config, const ModelFamily& family, const ModelConfig& model)
{
    const auto num_layers = static_cast<std::size_t>(model.shape.num_layers);
    const std::int64_t window = read_window(config, family);
    std::vector<std::int64_t> windows(num_layers, 0);
    const json* types = config.find("layer_types");
    if (types && (!types->is_array() || types->size() != num_layers))
        config.fail("layer_types", formatted("expected a list of {} layers", num_layers));
    for (std::size_t layer = 0; layer < num_layers; ++layer) {
        const bool by_default
            = window > 0 && slides_by_default(config, family, model, static_cast<std::int64_t>(layer));
        const json type = types ? (*types)[layer] : json(by_default ? "sliding_attention" : "full_attention");
        if (type != "full_attention" && (type != "sliding_attention" || family.windows == Windows::none))
            config.fail("layer_types", "not supported, found " + type.dump());
        const bool slides = type == "sliding_attention";
        if ((slides && window == 0) || (slides != by_default && family.windows == Windows::all_layers))
            config.fail("layer_types", "contradicts sliding_window, found " + type.dump());
        windows[layer] = slides ? window : 0;
    }
    return windows;
}

std::string read_dtype(const ConfigSection& config)
{
    if (config.find("dtype") && config.find("torch_dtype") && config.text("dtype") != config.text("torch_dtype"))
        config.fail("dtype", "contradicts torch_dtype");
    const char* key = config.find("dtype") ? "dtype" : "torch_dtype";
    if (!config.find(key))
        return "";
    const std::string dtype = config.text(key);
    if (dtype != "float32" && dtype != "float16" && dtype != "bfloat16")
        config.fail(key, "expected float32, float16 or bfloat16, found \"" + dtype + "\"");
    return dtype;
}

/// One id, several, or none: a model without an end token has none. generation_config.json, where there is one, knows
/// better than config.json: of chat models it lists the end of a turn, too. `absent`, where there is no such key and
/// the vocabulary has it.
std::vector<std::int64_t> read_eos(const ConfigSection& config, std::int64_t vocab_size, std::int64_t absent)
{
    if (config.lacks("eos_token_id") && absent >= 0 && absent < vocab_size)
        return {absent};
    const json* value = config.find("eos_token_id");
    if (!value)
        return {};
    std::vector<std::int64_t> ids;
    for (const json& id : value->is_array() ? *value : json::array({*value})) {
        if (!id.is_number_integer() || id < 0 || id >= vocab_size)
            config.fail("eos_token_id", "expected token ids below vocab_size, found " + value->dump());
        ids.push_back(id.get<std::int64_t>());
    }
    return ids;
}

std::vector<std::int64_t> read_end(const std::filesystem::path& folder, const ConfigSection& config,
    const ModelFamily& family, std::int64_t vocab_size)
{
    const auto file = folder / "generation_config.json";
    const json values = std::filesystem::exists(file) ? parse_json(read_text(file), file.string()) : json::object();
    if (!values.is_object())
        throw Error(file.string() + ": expected a JSON object, found something else");
    const ConfigSection generation(file.string(), values);
    return generation.find("eos_token_id") ? read_eos(generation, vocab_size, -1)
                                           : read_eos(config, vocab_size, family.defaults.eos_token_id);
}

/// GGUF is not read here: its blocks of quantised numbers belong to a library that few systems have. A script of ours
/// that leaves them to that library's Python half makes a folder of it.
void refuse_gguf(const std::filesystem::path& model)
{
    refuse_lfs_pointer(model);
    char magic[4] = {};
    if (std::filesystem::is_regular_file(model) && std::ifstream(model, std::ios::binary).read(magic, sizeof magic)
        && std::string_view(magic, sizeof magic) == "GGUF")
        throw Error(model.string()
            + ": a GGUF file, expected a Hugging Face folder; of a Llama model, python3 model/convert/convert_gguf.py "
            + model.string() + " -o FOLDER makes one (pip install gguf safetensors)");
}

} // namespace

ModelConfig read_model_config(const std::filesystem::path& model_folder)
{
    refuse_gguf(model_folder);
    const auto file = model_folder / "config.json";
    ModelConfig result;
    result.text = read_text(file);
    const json values = parse_json(result.text, file.string());
    if (!values.is_object())
        throw Error(file.string() + ": expected a JSON object, found something else");

    const ConfigSection config(file.string(), values);
    refuse_other_caches(config);
    const ModelFamily& family = family_of(config);
    refuse_unsupported(config, family);
    result.model_type = family.model_type;
    read_sizes(config, family, result);
    result.rms_norm_eps = config.lacks("rms_norm_eps") ? family.defaults.rms_norm_eps : config.positive("rms_norm_eps");
    result.rope = read_rope(config, family, result);
    result.context_length = context_length(result.rope, result.max_position_embeddings);
    const bool attention_bias = family.bias == Bias::as_configured && config.boolean_or("attention_bias", false);
    result.qkv_bias = family.bias == Bias::qkv || attention_bias;
    result.output_bias = attention_bias;
    result.mlp_bias = family.has_mlp_bias && config.boolean_or("mlp_bias", false);
    result.qk_norm = family.qk_norm;
    result.fused_projections = family.fused;
    result.layer_has_rope = read_rotated_layers(config, family, result.shape.num_layers);
    result.layer_window = read_windows(config, family, result);
    result.tie_word_embeddings = family.defaults.tie_word_embeddings;
    if (!config.lacks("tie_word_embeddings"))
        result.tie_word_embeddings = config.boolean("tie_word_embeddings");
    else
        result.assumed.push_back(std::string("tie_word_embeddings ") + (result.tie_word_embeddings ? "true" : "false"));
    result.dtype = read_dtype(config);
    result.eos_token_ids = read_end(model_folder, config, family, result.vocab_size);
    return result;
}

std::int64_t smallest_window(const ModelConfig& config)
{
    std::int64_t smallest = 0;
    for (const std::int64_t window : config.layer_window)
        if (window > 0 && (smallest == 0 || window < smallest))
            smallest = window;
    return smallest;
}

void check_length(const ModelConfig& config, std::int64_t cached, std::int64_t fresh)
{
    if (fresh > config.context_length - cached)
        throw Error(formatted(
            "expected at most {} tokens, the model's context, found {}", config.context_length, cached + fresh));
    const std::int64_t original = config.rope.original_context;
    if (config.rope.type == RopeType::longrope && cached > 0 && cached <= original && cached + fresh > original)
        throw Error(formatted("token {} lies beyond the original context of {}, where longrope rotates all keys by "
                              "other factors, but the {} keys before are cached; expected both on the same side",
            original + 1, original, cached));
}

} // namespace lava
