#include "model/config.h"

#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace lava {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
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

/// A small model's config.json of another family.
json family(const std::string& model_type, const std::string& architecture)
{
    json values = valid();
    values.update({{"model_type", model_type}, {"architectures", {architecture}}});
    if (model_type == "mistral" || model_type == "phi3")
        values["sliding_window"] = nullptr;
    return values;
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
        expect_refused_of(valid(), changes, key, reason);
    }
    void expect_refused_of(json values, const json& changes, const std::string& key, const std::string& reason) const
    {
        values.merge_patch(changes);
        EXPECT_THAT([&] { read(values); },
            ThrowsMessage<Error>(
                AllOf(HasSubstr((folder / "config.json").string() + ": " + key + ": "), HasSubstr(reason))))
            << changes;
    }

    const std::filesystem::path folder = std::filesystem::path(testing::TempDir())
        / (std::string("lava_config_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Config, TakesTheEndOfTextFromGenerationConfigWhereItHasOne)
{
    std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [3, 5]})";
    EXPECT_THAT(read(valid()).eos_token_ids, ElementsAre(3, 5));
    std::ofstream(folder / "generation_config.json") << R"({"temperature": 1})";
    EXPECT_THAT(read(valid()).eos_token_ids, ElementsAre(2));
    std::ofstream(folder / "generation_config.json") << R"({"eos_token_id": [3, 512]})";
    EXPECT_THAT([&] { read(valid()); }, ThrowsMessage<Error>(HasSubstr("generation_config.json: eos_token_id: ")));
    std::ofstream(folder / "generation_config.json") << "[";
    EXPECT_THAT(
        [&] { read(valid()); }, ThrowsMessage<Error>(HasSubstr("generation_config.json: expected a JSON object")));
}

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
    EXPECT_EQ(config.rope.theta, 10000);
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
    EXPECT_EQ(config.rope.theta, 1e5);
    EXPECT_EQ(config.dtype, "float16");
    EXPECT_EQ(config.shape.head_dim, 16);
    EXPECT_THAT(config.eos_token_ids, ElementsAre(2, 7));
}

/// What transformers 5.2.0 makes of a config.json that says nothing but the number of layers and of heads.
TEST_F(Config, HasTheDefaultsOfItsFamily)
{
    const auto bare = [&](const char* type) {
        return read({{"model_type", type}, {"num_hidden_layers", 30}, {"num_attention_heads", 32}});
    };
    const auto llama = bare("llama");
    EXPECT_EQ(llama.shape,
        (ModelShape{.num_layers = 30, .num_heads = 32, .num_kv_heads = 32, .head_dim = 128, .hidden_size = 4096}));
    EXPECT_EQ(llama.vocab_size, 32000);
    EXPECT_EQ(llama.intermediate_size, 11008);
    EXPECT_THAT(llama.eos_token_ids, ElementsAre(2));
    EXPECT_THAT(bare("mistral").layer_window, Each(4096));
    EXPECT_THAT(bare("qwen2").layer_window, Each(0));
    EXPECT_TRUE(bare("qwen3").eos_token_ids.empty());
    EXPECT_EQ(bare("qwen3").shape.head_dim, 128);
    EXPECT_FALSE(bare("smollm3").layer_has_rope[3]);
    EXPECT_TRUE(bare("smollm3").layer_has_rope[4]);
    EXPECT_EQ(bare("smollm3").shape.head_dim, 64);
    EXPECT_EQ(bare("phi3").shape.head_dim, 96);

    struct Row
    {
        const char* type;
        std::int64_t kv_heads, context;
        double eps, theta;
        bool ties;
    };
    for (const auto& row : {Row{"llama", 32, 2048, 1e-6, 1e4, false}, Row{"mistral", 8, 131072, 1e-6, 1e4, false},
             Row{"qwen2", 32, 32768, 1e-6, 1e4, false}, Row{"qwen3", 32, 32768, 1e-6, 1e4, false},
             Row{"smollm3", 4, 32768, 1e-6, 2e6, true}, Row{"phi3", 32, 4096, 1e-5, 1e4, false}}) {
        const auto config = bare(row.type);
        EXPECT_EQ(config.shape.num_kv_heads, row.kv_heads) << row.type;
        EXPECT_EQ(config.max_position_embeddings, row.context) << row.type;
        EXPECT_EQ(config.rms_norm_eps, row.eps) << row.type;
        EXPECT_EQ(config.rope.theta, row.theta) << row.type;
        EXPECT_EQ(config.tie_word_embeddings, row.ties) << row.type;
    }
    expect_refused({{"model_type", nullptr}}, "model_type", "expected a value, found none");
}

TEST_F(Config, TakesNullForWhatTransformersTakesItFor)
{
    json values = family("mistral", "MistralForCausalLM");
    values.update({{"num_key_value_heads", nullptr}, {"head_dim", nullptr}, {"architectures", nullptr}});
    EXPECT_EQ(read(values).shape.num_kv_heads, 8) << "as many as heads, not the 8 of a key that is absent";
    EXPECT_EQ(read(values).shape.head_dim, 8);
    EXPECT_THAT(read(values).layer_window, Each(0));
    for (const char* key :
        {"hidden_size", "vocab_size", "max_position_embeddings", "rms_norm_eps", "hidden_act", "tie_word_embeddings"}) {
        json nothing = valid();
        nothing[key] = nullptr;
        EXPECT_THAT([&] { read(nothing); },
            ThrowsMessage<Error>(HasSubstr(std::string("config.json: ") + key + ": expected a value, found null")));
    }
    values = family("qwen3", "Qwen3ForCausalLM");
    values["head_dim"] = nullptr;
    EXPECT_THAT([&] { read(values); }, ThrowsMessage<Error>(HasSubstr("head_dim: expected a number, found null")));
}

TEST_F(Config, RefusesADefaultThatDoesNotFitTheHeads)
{
    expect_refused_of(family("mistral", "MistralForCausalLM"),
        {{"num_key_value_heads", nullptr}, {"num_attention_heads", 4}}, "num_key_value_heads",
        "expected a divisor of num_attention_heads 4, found none, for which transformers takes 8");
    expect_refused_of(family("qwen2", "Qwen2ForCausalLM"), {{"num_key_value_heads", nullptr}}, "num_key_value_heads",
        "found none, for which transformers takes 32");
    json values = valid();
    values.erase("num_key_value_heads");
    EXPECT_EQ(read(values).shape.num_kv_heads, 8);
}

TEST_F(Config, KnowsOldSpellings)
{
    json values = valid();
    values["hidden_act"] = "swish";
    EXPECT_EQ(read(values).model_type, "llama");
    values.erase("architectures");
    values["rope_scaling"] = json::object();
    EXPECT_EQ(read(values).rope.type, RopeType::standard);
    values.erase("rope_theta");
    values["rope_parameters"] = {{"rope_theta", 5e5}};
    EXPECT_EQ(read(values).rope.theta, 5e5);
}

TEST_F(Config, SaysWhatOfItsCacheNoTraceHolds)
{
    expect_refused({{"model_type", "deepseek_v3"}, {"kv_lora_rank", 512}}, "kv_lora_rank",
        "multi-head latent attention is not supported");
    expect_refused({{"head_dim", {8, 16, 8, 16, 8}}}, "head_dim", "heads that differ by layer are not supported");
    expect_refused({{"model_type", "openelm"}, {"num_kv_heads", {3, 4}}}, "num_kv_heads", "heads that differ by layer");
    expect_refused({{"model_type", "gemma4_text"}, {"head_dim", 256}, {"global_head_dim", 512}}, "global_head_dim",
        "head_dim that differs by layer is not supported");
    expect_refused({{"intermediate_size", {172, 180}}}, "intermediate_size", "expected one number for all layers");
}

TEST_F(Config, SaysWhichBiasesAndNormsAFamilyHas)
{
    const auto llama = read(valid());
    EXPECT_FALSE(llama.qkv_bias || llama.output_bias || llama.mlp_bias || llama.qk_norm || llama.fused_projections);
    json biased = valid();
    biased.update({{"attention_bias", true}, {"mlp_bias", true}});
    EXPECT_TRUE(read(biased).qkv_bias && read(biased).output_bias && read(biased).mlp_bias);
    const auto qwen2 = read(family("qwen2", "Qwen2ForCausalLM"));
    EXPECT_TRUE(qwen2.qkv_bias && !qwen2.output_bias && !qwen2.qk_norm);
    json values = family("qwen3", "Qwen3ForCausalLM");
    values["head_dim"] = 16;
    const auto qwen3 = read(values);
    EXPECT_TRUE(qwen3.qk_norm && !qwen3.qkv_bias);
    EXPECT_EQ(qwen3.shape.head_dim, 16);
    EXPECT_TRUE(read(family("phi3", "Phi3ForCausalLM")).fused_projections);
}

TEST_F(Config, SaysWhichLayersSlide)
{
    json mistral = family("mistral", "MistralForCausalLM");
    EXPECT_THAT(read(mistral).layer_window, Each(0));
    mistral["sliding_window"] = 64;
    EXPECT_THAT(read(mistral).layer_window, ElementsAre(64, 64, 64, 64, 64));
    EXPECT_EQ(smallest_window(read(mistral)), 64);

    json qwen2 = family("qwen2", "Qwen2ForCausalLM");
    qwen2.update({{"sliding_window", 64}, {"max_window_layers", 3}, {"use_sliding_window", false}});
    EXPECT_THAT(read(qwen2).layer_window, Each(0));
    qwen2["use_sliding_window"] = true;
    EXPECT_THAT(read(qwen2).layer_window, ElementsAre(0, 0, 0, 64, 64));
    const std::string full = "full_attention", sliding = "sliding_attention";
    qwen2["layer_types"] = {sliding, full, full, full, sliding};
    EXPECT_THAT(read(qwen2).layer_window, ElementsAre(64, 0, 0, 0, 64));
    EXPECT_EQ(smallest_window(read(qwen2)), 64);
}

TEST_F(Config, SaysWhichLayersAreNotRotated)
{
    EXPECT_THAT(read(valid()).layer_has_rope, Each(true));
    json smollm3 = family("smollm3", "SmolLM3ForCausalLM");
    smollm3["no_rope_layer_interval"] = 2;
    EXPECT_THAT(read(smollm3).layer_has_rope, ElementsAre(true, false, true, false, true));
    smollm3["no_rope_layers"] = {0, 1, 1, 1, 0};
    EXPECT_THAT(read(smollm3).layer_has_rope, ElementsAre(false, true, true, true, false));
    smollm3.update({{"use_sliding_window", true}, {"sliding_window", 32}});
    EXPECT_THAT(read(smollm3).layer_window, ElementsAre(32, 0, 0, 0, 32));
    expect_refused_of(smollm3, {{"no_rope_layers", {1, 0}}}, "no_rope_layers", "expected 5 numbers");
    expect_refused({{"no_rope_layers", {1, 1, 1, 1, 0}}}, "no_rope_layers", "model of type llama");
}

TEST_F(Config, RefusesWhatTheDecoderDoesNotCompute)
{
    expect_refused({{"model_type", "gpt2"}}, "model_type",
        "expected llama, mistral, qwen2, qwen3, smollm3 or phi3, found 'gpt2'; capture/python/lava_capture.py records "
        "other families through transformers");
    expect_refused({{"architectures", {"LlamaForSequenceClassification"}}}, "architectures", "LlamaForCausalLM");
    expect_refused({{"hidden_act", "gelu"}}, "hidden_act", "found \"gelu\"");
    expect_refused({{"sliding_window", 4096}}, "sliding_window", "not supported in a model of type llama");
    expect_refused({{"layer_types",
                       json::array({"full_attention", "full_attention", "full_attention", "full_attention",
                           "chunked_attention"})}},
        "layer_types", "chunked_attention");
    expect_refused({{"quantization_config", {{"bits", 4}}}}, "quantization_config", "not supported");
    expect_refused({{"attn_logit_softcapping", 50.0}}, "attn_logit_softcapping", "not supported, found 50.0");
    expect_refused({{"num_local_experts", 8}}, "num_local_experts", "not supported");
    const json mistral = family("mistral", "MistralForCausalLM"), qwen2 = family("qwen2", "Qwen2ForCausalLM");
    expect_refused_of(mistral, {{"attention_bias", true}}, "attention_bias", "only false is supported");
    expect_refused_of(mistral, {{"mlp_bias", true}}, "mlp_bias", "only false is supported");
    expect_refused_of(qwen2, {{"attention_bias", false}}, "attention_bias", "only true is supported");
}

TEST_F(Config, RefusesContradictionsAndNonsense)
{
    expect_refused({{"num_key_value_heads", 3}}, "num_key_value_heads", "divisor of num_attention_heads 8, found 3");
    expect_refused({{"hidden_size", 60}}, "hidden_size", "multiple of num_attention_heads 8");
    expect_refused({{"head_dim", 7}}, "head_dim", "expected an even number of dimensions to rotate, found 7");
    expect_refused({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor",
        "expected 1 in a model that is no Phi-3, found 0.5: transformers rotates whole heads all the same, vLLM");
    expect_refused({{"hidden_size", "64"}}, "hidden_size", "positive integer, found \"64\"");
    expect_refused({{"num_hidden_layers", 0}}, "num_hidden_layers", "positive integer, found 0");
    expect_refused({{"vocab_size", 1e30}}, "vocab_size", "positive integer");
    expect_refused({{"rms_norm_eps", -1}}, "rms_norm_eps", "positive number, found -1");
    expect_refused({{"tie_word_embeddings", 1}}, "tie_word_embeddings", "true or false");
    expect_refused({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}, "rope_parameters.rope_theta",
        "contradicts");
    json sliding = family("mistral", "MistralForCausalLM");
    sliding.update({{"sliding_window", 64}});
    expect_refused_of(sliding, {{"use_sliding_window", false}}, "use_sliding_window", "only true is supported");
    expect_refused_of(sliding, {{"layer_types", std::vector<std::string>(5, "full_attention")}}, "layer_types",
        "contradicts sliding_window");
    expect_refused_of(family("qwen2", "Qwen2ForCausalLM"),
        {{"layer_types", std::vector<std::string>(5, "sliding_attention")}}, "layer_types",
        "contradicts sliding_window");
    expect_refused(
        {{"layer_types", {"full_attention", "full_attention"}}}, "layer_types", "expected a list of 5 layers");
    expect_refused({{"dtype", "float32"}}, "dtype", "contradicts torch_dtype");
    expect_refused({{"torch_dtype", "float8"}}, "torch_dtype", "found \"float8\"");
    expect_refused({{"eos_token_id", 512}}, "eos_token_id", "below vocab_size");
}

TEST_F(Config, SettingsThatAreOffAreNoObstacle)
{
    json values = valid();
    values.update({{"rope_scaling", nullptr}, {"attention_bias", false}, {"mlp_bias", false},
        {"sliding_window", nullptr}, {"use_sliding_window", false},
        {"layer_types", std::vector<std::string>(5, "full_attention")}, {"eos_token_id", nullptr}});
    EXPECT_TRUE(read(values).eos_token_ids.empty());
    values["rope_scaling"] = {{"rope_type", "default"}};
    values["sliding_window"] = 4096; // but use_sliding_window is false
    EXPECT_EQ(read(values).rope.theta, 10000);
}

TEST(ModelConfig, SaysHowManyTokensCanBeRun)
{
    ModelConfig config;
    config.context_length = 512;
    EXPECT_NO_THROW(check_length(config, 500, 12));
    EXPECT_THAT([&] { check_length(config, 500, 13); },
        ThrowsMessage<Error>(HasSubstr("expected at most 512 tokens, the model's context, found 513")));
    config.rope.type = RopeType::longrope;
    config.rope.original_context = 100;
    EXPECT_NO_THROW(check_length(config, 0, 300));
    EXPECT_NO_THROW(check_length(config, 90, 10));
    EXPECT_NO_THROW(check_length(config, 101, 1));
    EXPECT_THAT([&] { check_length(config, 100, 1); }, ThrowsMessage<Error>(HasSubstr("token 101 lies beyond")));
}

TEST_F(Config, ThatIsNoJsonObjectIsRefused)
{
    EXPECT_THAT([&] { read_text("[1, 2"); }, ThrowsMessage<Error>(HasSubstr("config.json: expected a JSON object")));
    EXPECT_THAT([&] { read_text("[]"); }, ThrowsMessage<Error>(HasSubstr("config.json: expected a JSON object")));
    EXPECT_THAT([&] { read_model_config(folder / "absent"); }, ThrowsMessage<Error>(HasSubstr("cannot be read")));
}

} // namespace
} // namespace lava
