#include "model/config.h"

#include "base/error.h"
#include "model/config_section.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

namespace lava {

namespace {

using nlohmann::json;

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

/// What sets the decoders apart, one row for each model_type.
struct Family
{
    std::string_view model_type;
    std::string_view architecture;
    Windows windows = Windows::none;
    Bias bias = Bias::none;
    bool has_mlp_bias = false; ///< as mlp_bias says
    bool qk_norm = false;
    bool fused = false;
    bool skips_rope = false; ///< as no_rope_layers says
    bool head_dim_is_given = false; ///< or hidden_size / num_attention_heads
    bool old_files = false; ///< some lack rope_theta (10000) and num_key_value_heads (num_attention_heads)
    bool ties_unless_told = false; ///< files of tied models lack tie_word_embeddings
};
constexpr std::array families{
    Family{.model_type = "llama",
        .architecture = "LlamaForCausalLM",
        .bias = Bias::as_configured,
        .has_mlp_bias = true,
        .old_files = true},
    Family{.model_type = "mistral", .architecture = "MistralForCausalLM", .windows = Windows::all_layers},
    Family{
        .model_type = "qwen2", .architecture = "Qwen2ForCausalLM", .windows = Windows::upper_layers, .bias = Bias::qkv},
    Family{.model_type = "qwen3",
        .architecture = "Qwen3ForCausalLM",
        .windows = Windows::upper_layers,
        .bias = Bias::as_configured,
        .qk_norm = true,
        .head_dim_is_given = true},
    Family{.model_type = "smollm3",
        .architecture = "SmolLM3ForCausalLM",
        .windows = Windows::unrotated_layers,
        .bias = Bias::as_configured,
        .has_mlp_bias = true,
        .skips_rope = true,
        .ties_unless_told = true},
    Family{.model_type = "phi3", .architecture = "Phi3ForCausalLM", .windows = Windows::all_layers, .fused = true},
};

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
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    if (!in || !(text << in.rdbuf()))
        throw Error(file.string() + ": cannot be read; expected the config.json of a Hugging Face model folder");
    return text.str();
}

const Family& find_family(const ConfigSection& config)
{
    const std::string model_type = config.text("model_type");
    const auto* family = std::ranges::find(families, model_type, &Family::model_type);
    if (family == families.end())
        config.fail("model_type", "expected llama, mistral, qwen2, qwen3, smollm3 or phi3, found '" + model_type + "'");
    const json expected = json::array({family->architecture});
    if (config.require("architectures") != expected)
        config.fail(
            "architectures", "expected " + expected.dump() + ", found " + config.require("architectures").dump());
    return *family;
}

void refuse_unsupported(const ConfigSection& config, const Family& family)
{
    if (config.text("hidden_act") != "silu")
        config.fail("hidden_act", "only \"silu\" is supported, found \"" + config.text("hidden_act") + "\"");
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

ModelShape read_shape(const ConfigSection& config, const Family& family)
{
    ModelShape shape;
    shape.num_layers = config.size("num_hidden_layers");
    shape.num_heads = config.size("num_attention_heads");
    shape.num_kv_heads = family.old_files ? config.size_or("num_key_value_heads", shape.num_heads)
                                          : config.size("num_key_value_heads");
    shape.hidden_size = config.size("hidden_size");
    if (shape.num_heads % shape.num_kv_heads != 0)
        config.fail("num_key_value_heads",
            "expected a divisor of num_attention_heads " + std::to_string(shape.num_heads) + ", found "
                + std::to_string(shape.num_kv_heads));
    const bool given = family.head_dim_is_given || config.find("head_dim");
    if (!given && shape.hidden_size % shape.num_heads != 0)
        config.fail("hidden_size",
            "expected a multiple of num_attention_heads " + std::to_string(shape.num_heads)
                + " where head_dim is not given, found " + std::to_string(shape.hidden_size));
    shape.head_dim = given ? config.size("head_dim") : shape.hidden_size / shape.num_heads;
    return shape;
}

RopeConfig read_rope(const ConfigSection& config, const Family& family, const ModelConfig& model)
{
    return read_rope_config(config,
        {.head_dim = model.shape.head_dim,
            .max_position_embeddings = model.max_position_embeddings,
            .default_theta = family.old_files ? 10000.0 : 0.0,
            .yarn_means_longrope = family.fused});
}

/// no_rope_layers holds a 1 for each layer that rotates; where it is absent, every no_rope_layer_interval-th does not.
std::vector<bool> read_rotated_layers(const ConfigSection& config, const Family& family, std::int64_t num_layers)
{
    std::vector<bool> rotated(static_cast<std::size_t>(num_layers), true);
    if (!family.skips_rope)
        return rotated;
    const json* given = config.find("no_rope_layers");
    if (!given) {
        const std::int64_t interval = config.size("no_rope_layer_interval");
        for (std::int64_t layer = 0; layer < num_layers; ++layer)
            rotated[static_cast<std::size_t>(layer)] = (layer + 1) % interval != 0;
        return rotated;
    }
    const auto is_flag = [](const json& flag) { return flag == 0 || flag == 1; };
    if (!given->is_array() || std::ssize(*given) != num_layers || !std::all_of(given->begin(), given->end(), is_flag))
        config.fail("no_rope_layers",
            "expected " + std::to_string(num_layers) + " numbers 0 or 1, one for each layer, " + "found "
                + given->dump());
    std::transform(given->begin(), given->end(), rotated.begin(), [](const json& flag) { return flag == 1; });
    return rotated;
}

/// Whether there is a window at all. The key that says so must not contradict the window itself.
bool has_window(const ConfigSection& config, const Family& family)
{
    const bool given = config.find("sliding_window");
    switch (family.windows) {
    case Windows::none:
        if (given && config.boolean_or("use_sliding_window", true))
            config.fail("sliding_window",
                "not supported in a model of type " + std::string(family.model_type) + ", found "
                    + config.require("sliding_window").dump());
        return false;
    case Windows::all_layers:
        if (!config.values().contains("sliding_window"))
            config.fail("sliding_window", "expected a number or null, found none");
        config.expect_if_given("use_sliding_window", given);
        return given;
    case Windows::upper_layers:
    case Windows::unrotated_layers:
        break;
    }
    return config.boolean_or("use_sliding_window", false);
}

bool slides_by_default(const ConfigSection& config, const Family& family, const ModelConfig& model, std::int64_t layer)
{
    if (family.windows == Windows::upper_layers)
        return layer >= config.count("max_window_layers");
    return family.windows == Windows::all_layers || !model.layer_has_rope[static_cast<std::size_t>(layer)];
}

std::vector<std::int64_t> read_windows(const ConfigSection& config, const Family& family, const ModelConfig& model)
{
    const auto num_layers = static_cast<std::size_t>(model.shape.num_layers);
    const std::int64_t window = has_window(config, family) ? config.size("sliding_window") : 0;
    std::vector<std::int64_t> windows(num_layers, 0);
    const json* types = config.find("layer_types");
    if (types && (!types->is_array() || types->size() != num_layers))
        config.fail("layer_types", "expected a list of " + std::to_string(num_layers) + " layers");
    for (std::size_t layer = 0; layer < num_layers; ++layer) {
        const bool by_default = window > 0 && slides_by_default(config, family, model, static_cast<int>(layer));
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
/// better than config.json: of chat models it lists the end of a turn, too.
std::vector<std::int64_t> read_eos(const ConfigSection& config, std::int64_t vocab_size)
{
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

/// GGUF is not read here: its blocks of quantised numbers belong to a library that few systems have. A script of ours
/// that leaves them to that library's Python half makes a folder of it.
void refuse_gguf(const std::filesystem::path& model)
{
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
    const json values = json::parse(result.text, nullptr, false);
    if (!values.is_object())
        throw Error(file.string() + ": expected a JSON object, found something else");

    const ConfigSection config(file.string(), values);
    const Family& family = find_family(config);
    refuse_unsupported(config, family);
    result.model_type = family.model_type;
    result.shape = read_shape(config, family);
    result.vocab_size = config.size("vocab_size");
    result.intermediate_size = config.size("intermediate_size");
    result.max_position_embeddings = config.size("max_position_embeddings");
    result.rms_norm_eps = config.positive("rms_norm_eps");
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
    result.tie_word_embeddings = family.ties_unless_told ? config.boolean_or("tie_word_embeddings", true)
                                                         : config.boolean("tie_word_embeddings");
    result.dtype = read_dtype(config);
    const auto generation_file = model_folder / "generation_config.json";
    const json generation = std::filesystem::exists(generation_file)
        ? json::parse(read_text(generation_file), nullptr, false)
        : json::object();
    if (!generation.is_object())
        throw Error(generation_file.string() + ": expected a JSON object, found something else");
    const ConfigSection ending(generation_file.string(), generation);
    result.eos_token_ids = read_eos(ending.find("eos_token_id") ? ending : config, result.vocab_size);
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
        throw Error("expected at most " + std::to_string(config.context_length) + " tokens, the model's context, found "
            + std::to_string(cached + fresh));
    const std::int64_t original = config.rope.original_context;
    if (config.rope.type == RopeType::longrope && cached > 0 && cached <= original && cached + fresh > original)
        throw Error("token " + std::to_string(original + 1) + " lies beyond the original context of "
            + std::to_string(original) + ", where longrope rotates all keys by other factors, but the "
            + std::to_string(cached) + " keys before are cached; expected both on the same side");
}

} // namespace lava
