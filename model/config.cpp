#include "model/config.h"

#include "traces/error.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

namespace lava {

namespace {

using nlohmann::json;

/// What the decoder computes for one model_type. Another family is a row here and a branch there.
struct Family
{
    std::string_view model_type;
    std::string_view architecture;
};
constexpr std::array families{Family{"llama", "LlamaForCausalLM"}};

constexpr std::int64_t largest_size = std::int64_t{1} << 32; // far above any model, far below an overflow

/// config.json, or an object inside it, with errors that name file and key.
class Section
{
public:
    Section(std::string file, const json& values, std::string prefix = "")
        : file_(std::move(file))
        , values_(values)
        , prefix_(std::move(prefix))
    { }

    [[noreturn]] void fail(std::string_view key, const std::string& message) const
    {
        throw Error(file_ + ": " + prefix_ + std::string(key) + ": " + message);
    }

    /// Null where the key is absent or null.
    const json* find(std::string_view key) const
    {
        const auto found = values_.find(key);
        return found == values_.end() || found->is_null() ? nullptr : &*found;
    }

    const json& require(std::string_view key) const
    {
        const json* value = find(key);
        if (!value)
            fail(key, "expected a value, found none");
        return *value;
    }

    std::int64_t size(std::string_view key) const
    {
        const json& value = require(key);
        if (!value.is_number_integer() || value < 1 || value > largest_size)
            fail(key, "expected a positive integer, found " + value.dump());
        return value.get<std::int64_t>();
    }

    double positive(std::string_view key) const
    {
        const json& value = require(key);
        if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>()))
            fail(key, "expected a positive number, found " + value.dump());
        return value.get<double>();
    }

    bool boolean(std::string_view key) const
    {
        const json& value = require(key);
        if (!value.is_boolean())
            fail(key, "expected true or false, found " + value.dump());
        return value.get<bool>();
    }

    std::string text(std::string_view key) const
    {
        const json& value = require(key);
        if (!value.is_string())
            fail(key, "expected a string, found " + value.dump());
        return value.get<std::string>();
    }

    /// A setting that this decoder has one value for; absent is that value too, since older files lack the key.
    void expect_if_given(std::string_view key, const json& expected) const
    {
        const json* value = find(key);
        if (value && *value != expected)
            fail(key, "only " + expected.dump() + " is supported, found " + value->dump());
    }

    std::optional<Section> object(std::string_view key) const
    {
        const json* value = find(key);
        if (!value)
            return std::nullopt;
        if (!value->is_object())
            fail(key, "expected an object, found " + value->dump());
        return Section(file_, *value, prefix_ + std::string(key) + ".");
    }

private:
    std::string file_;
    const json& values_;
    std::string prefix_;
};

std::string read_text(const std::filesystem::path& file)
{
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    if (!in || !(text << in.rdbuf()))
        throw Error(file.string() + ": cannot be read; expected the config.json of a Hugging Face model folder");
    return text.str();
}

void check_family(const Section& config)
{
    const std::string model_type = config.text("model_type");
    for (const Family& family : families) {
        if (family.model_type != model_type)
            continue;
        const json expected = json::array({family.architecture});
        if (config.require("architectures") != expected)
            config.fail(
                "architectures", "expected " + expected.dump() + ", found " + config.require("architectures").dump());
        return;
    }
    config.fail("model_type", "only 'llama' is supported, found '" + model_type + "'");
}

void refuse_unsupported(const Section& config)
{
    if (config.text("hidden_act") != "silu")
        config.fail("hidden_act", "only \"silu\" is supported, found \"" + config.text("hidden_act") + "\"");
    config.expect_if_given("attention_bias", false);
    config.expect_if_given("mlp_bias", false);
    config.expect_if_given("partial_rotary_factor", 1.0);
    if (config.find("sliding_window") && (!config.find("use_sliding_window") || config.boolean("use_sliding_window")))
        config.fail(
            "sliding_window", "sliding windows are not supported, found " + config.require("sliding_window").dump());
    if (const json* types = config.find("layer_types"))
        for (const json& type : *types)
            if (type != "full_attention")
                config.fail("layer_types", "only \"full_attention\" is supported, found " + type.dump());
    if (config.find("quantization_config"))
        config.fail("quantization_config", "quantised weights are not supported");
}

void check_rope_type(const Section& rope, std::string_view key)
{
    const std::string type = rope.text(key);
    if (type != "default")
        rope.fail(key, "only \"default\" is supported, found \"" + type + "\"");
}

/// transformers 5 writes rope_parameters {rope_theta, rope_type}; before, rope_theta stood at top level and any scaling
/// in rope_scaling {rope_type or, older, type}.
double read_rope_theta(const Section& config)
{
    if (const auto scaling = config.object("rope_scaling"))
        check_rope_type(*scaling, scaling->find("rope_type") || !scaling->find("type") ? "rope_type" : "type");
    const auto parameters = config.object("rope_parameters");
    if (!parameters)
        return config.positive("rope_theta");
    check_rope_type(*parameters, "rope_type");
    parameters->expect_if_given("partial_rotary_factor", 1.0);
    const double theta = parameters->positive("rope_theta");
    if (config.find("rope_theta") && config.positive("rope_theta") != theta)
        config.fail("rope_theta", "contradicts rope_parameters.rope_theta");
    return theta;
}

std::string read_dtype(const Section& config)
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

ModelShape read_shape(const Section& config)
{
    ModelShape shape;
    shape.num_layers = config.size("num_hidden_layers");
    shape.num_heads = config.size("num_attention_heads");
    shape.num_kv_heads = config.size("num_key_value_heads");
    shape.hidden_size = config.size("hidden_size");
    if (shape.num_heads % shape.num_kv_heads != 0)
        config.fail("num_key_value_heads",
            "expected a divisor of num_attention_heads " + std::to_string(shape.num_heads) + ", found "
                + std::to_string(shape.num_kv_heads));
    if (!config.find("head_dim") && shape.hidden_size % shape.num_heads != 0)
        config.fail("hidden_size",
            "expected a multiple of num_attention_heads " + std::to_string(shape.num_heads)
                + " where head_dim is not given, found " + std::to_string(shape.hidden_size));
    shape.head_dim = config.find("head_dim") ? config.size("head_dim") : shape.hidden_size / shape.num_heads;
    if (shape.head_dim % 2 != 0)
        config.fail("head_dim", "expected an even number, found " + std::to_string(shape.head_dim));
    return shape;
}

/// One id, several, or none: a model without an end token has none.
std::vector<std::int64_t> read_eos(const Section& config, std::int64_t vocab_size)
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

} // namespace

ModelConfig read_model_config(const std::filesystem::path& model_folder)
{
    const auto file = model_folder / "config.json";
    ModelConfig result;
    result.text = read_text(file);
    const json values = json::parse(result.text, nullptr, false);
    if (!values.is_object())
        throw Error(file.string() + ": expected a JSON object, found something else");

    const Section config(file.string(), values);
    check_family(config);
    refuse_unsupported(config);
    result.model_type = config.text("model_type");
    result.shape = read_shape(config);
    result.vocab_size = config.size("vocab_size");
    result.intermediate_size = config.size("intermediate_size");
    result.max_position_embeddings = config.size("max_position_embeddings");
    result.rms_norm_eps = config.positive("rms_norm_eps");
    result.rope_theta = read_rope_theta(config);
    result.tie_word_embeddings = config.boolean("tie_word_embeddings");
    result.dtype = read_dtype(config);
    result.eos_token_ids = read_eos(config, result.vocab_size);
    return result;
}

} // namespace lava
