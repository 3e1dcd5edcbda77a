#include "model/config.h"

#include "traces/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace lava {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// A Llama's config.json as transformers 4 writes it.
json valid()
{
    return {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"hidden_act", "silu"},
        {"hidden_size", 64}, {"intermediate_size", 172}, {"num_hidden_layers", 5}, {"num_attention_heads", 8},
        {"num_key_value_heads", 4}, {"vocab_size", 512}, {"max_position_embeddings", 512}, {"rms_norm_eps", 1e-5},
        {"rope_theta", 10000.0}, {"tie_word_embeddings", true}, {"torch_dtype", "bfloat16"}, {"eos_token_id", 2}};
}

/// A model folder of one test.
class Config : public testing::Test
{
protected:
    void SetUp() override { std::filesystem::create_directories(folder); }
    void TearDown() override { std::filesystem::remove_all(folder); }

    ModelConfig read_text(const std::string& text) const
    {
        std::ofstream(folder / "config.json") << text;
        return read_model_config(folder);
    }
    ModelConfig read(const json& values) const { return read_text(values.dump()); }

    /// valid() with some keys changed (null: removed) is refused in a sentence that names file and key.
    void expect_refused(const json& changes, const std::string& key, const std::string& reason) const
    {
        json values = valid();
        values.merge_patch(changes);
        EXPECT_THAT([&] { read(values); },
            ThrowsMessage<Error>(
                AllOf(HasSubstr((folder / "config.json").string() + ": " + key + ": "), HasSubstr(reason))))
            << changes;
    }

    const std::filesystem::path folder = std::filesystem::path(testing::TempDir())
        / (std::string("lava_config_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Config, IsReadAsTransformers4WritesIt)
{
    const auto config = read(valid());
    EXPECT_EQ(config.model_type, "llama");
    EXPECT_EQ(config.shape,
        (ModelShape{.num_layers = 5, .num_heads = 8, .num_kv_heads = 4, .head_dim = 8, .hidden_size = 64}));
    EXPECT_EQ(config.vocab_size, 512);
    EXPECT_EQ(config.intermediate_size, 172);
    EXPECT_EQ(config.max_position_embeddings, 512);
    EXPECT_EQ(config.rms_norm_eps, 1e-5);
    EXPECT_EQ(config.rope_theta, 10000);
    EXPECT_TRUE(config.tie_word_embeddings);
    EXPECT_EQ(config.dtype, "bfloat16");
    EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
    EXPECT_EQ(config.text, valid().dump());
}

TEST_F(Config, IsReadAsTransformers5WritesIt)
{
    json values = valid();
    values.erase("rope_theta");
    values.erase("torch_dtype");
    values.update({{"rope_parameters", {{"rope_theta", 1e5}, {"rope_type", "default"}}}, {"dtype", "float16"},
        {"head_dim", 16}, {"eos_token_id", {2, 7}}});
    const auto config = read(values);
    EXPECT_EQ(config.rope_theta, 1e5);
    EXPECT_EQ(config.dtype, "float16");
    EXPECT_EQ(config.shape.head_dim, 16);
    EXPECT_THAT(config.eos_token_ids, ElementsAre(2, 7));
}

TEST_F(Config, NeverFillsInAMissingValue)
{
    for (const char* key : {"model_type", "architectures", "hidden_act", "hidden_size", "intermediate_size",
             "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size", "max_position_embeddings",
             "rms_norm_eps", "rope_theta", "tie_word_embeddings"})
        expect_refused({{key, nullptr}}, key, "expected a value, found none");
    expect_refused({{"rope_theta", nullptr}, {"rope_parameters", {{"rope_type", "default"}}}},
        "rope_parameters.rope_theta", "found none");
    expect_refused({{"rope_parameters", {{"rope_theta", 1e4}}}}, "rope_parameters.rope_type", "found none");
}

TEST_F(Config, RefusesWhatTheDecoderDoesNotCompute)
{
    expect_refused({{"model_type", "gpt2"}}, "model_type", "only 'llama' is supported, found 'gpt2'");
    expect_refused({{"architectures", {"LlamaForSequenceClassification"}}}, "architectures", "LlamaForCausalLM");
    expect_refused({{"hidden_act", "gelu"}}, "hidden_act", "found \"gelu\"");
    expect_refused({{"attention_bias", true}}, "attention_bias", "only false is supported");
    expect_refused({{"mlp_bias", true}}, "mlp_bias", "only false is supported");
    expect_refused({{"sliding_window", 4096}}, "sliding_window", "not supported");
    expect_refused({{"layer_types", {"full_attention", "sliding_attention"}}}, "layer_types", "sliding_attention");
    expect_refused({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor", "found 0.5");
    expect_refused({{"quantization_config", {{"bits", 4}}}}, "quantization_config", "not supported");
    expect_refused({{"rope_scaling", {{"rope_type", "llama3"}}}}, "rope_scaling.rope_type", "found \"llama3\"");
    expect_refused({{"rope_scaling", {{"type", "linear"}}}}, "rope_scaling.type", "found \"linear\"");
    expect_refused({{"rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}}}, "rope_parameters.rope_type",
        "found \"yarn\"");
}

TEST_F(Config, RefusesContradictionsAndNonsense)
{
    expect_refused({{"num_key_value_heads", 3}}, "num_key_value_heads", "divisor of num_attention_heads 8, found 3");
    expect_refused({{"hidden_size", 60}}, "hidden_size", "multiple of num_attention_heads 8");
    expect_refused({{"head_dim", 7}}, "head_dim", "even number, found 7");
    expect_refused({{"hidden_size", "64"}}, "hidden_size", "positive integer, found \"64\"");
    expect_refused({{"num_hidden_layers", 0}}, "num_hidden_layers", "positive integer, found 0");
    expect_refused({{"vocab_size", 1e30}}, "vocab_size", "positive integer");
    expect_refused({{"rms_norm_eps", -1}}, "rms_norm_eps", "positive number, found -1");
    expect_refused({{"tie_word_embeddings", 1}}, "tie_word_embeddings", "true or false");
    expect_refused({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}, "rope_theta", "contradicts");
    expect_refused({{"dtype", "float32"}}, "dtype", "contradicts torch_dtype");
    expect_refused({{"torch_dtype", "float8"}}, "torch_dtype", "found \"float8\"");
    expect_refused({{"eos_token_id", 512}}, "eos_token_id", "below vocab_size");
}

TEST_F(Config, SettingsThatAreOffAreNoObstacle)
{
    json values = valid();
    values.update(
        {{"rope_scaling", nullptr}, {"attention_bias", false}, {"mlp_bias", false}, {"sliding_window", nullptr},
            {"use_sliding_window", false}, {"layer_types", {"full_attention"}}, {"eos_token_id", nullptr}});
    EXPECT_TRUE(read(values).eos_token_ids.empty());
    values["rope_scaling"] = {{"rope_type", "default"}};
    values["sliding_window"] = 4096; // but use_sliding_window is false
    EXPECT_EQ(read(values).rope_theta, 10000);
}

TEST_F(Config, ThatIsNoJsonObjectIsRefused)
{
    EXPECT_THAT([&] { read_text("[1, 2"); }, ThrowsMessage<Error>(HasSubstr("config.json: expected a JSON object")));
    EXPECT_THAT([&] { read_text("[]"); }, ThrowsMessage<Error>(HasSubstr("config.json: expected a JSON object")));
    EXPECT_THAT([&] { read_model_config(folder / "absent"); }, ThrowsMessage<Error>(HasSubstr("cannot be read")));
}

} // namespace
} // namespace lava
