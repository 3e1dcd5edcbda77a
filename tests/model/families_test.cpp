#include "model/decoder.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <map>

namespace lava {
namespace {

using nlohmann::json;
using Weights = std::map<std::string, at::Tensor>;

constexpr double relative_tolerance = 1e-5; // norm of the difference over the norm; float32 against double
const std::int64_t vocab = 61, hidden = 24, wide = 40, layers = 4, heads = 4, kv_heads = 2, head_dim = 10, tokens = 45;

/// A model of one family: its config.json, and which of its layers slide and rotate, as that should be understood.
struct Case
{
    std::string name;
    json config;
    std::vector<std::int64_t> windows = std::vector<std::int64_t>(layers, 0); ///< 0: none
    std::vector<bool> rotated = std::vector<bool>(layers, true);
    std::int64_t rotary_dim = head_dim;

    bool is(const char* key) const { return config.value(key, false); }
    std::string type() const { return config["model_type"]; }
    bool has_qkv_bias() const { return type() == "qwen2" || is("attention_bias"); }
};

std::ostream& operator<<(std::ostream& out, const Case& model)
{
    return out << model.name;
}

json config_of(const std::string& type, const std::string& architecture, const json& more)
{
    json config = {{"model_type", type}, {"architectures", {architecture}}, {"hidden_act", "silu"},
        {"vocab_size", vocab}, {"hidden_size", hidden}, {"intermediate_size", wide}, {"num_hidden_layers", layers},
        {"num_attention_heads", heads}, {"num_key_value_heads", kv_heads}, {"head_dim", head_dim},
        {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-5}, {"rope_theta", 100.0}, {"tie_word_embeddings", false}};
    config.update(more);
    return config;
}

std::vector<Case> cases()
{
    const json slides = {{"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 2}};
    return {
        {.name = "Llama", .config = config_of("llama", "LlamaForCausalLM", json::object())},
        {.name = "LlamaTiedWithBiases",
            .config = config_of("llama", "LlamaForCausalLM",
                {{"attention_bias", true}, {"mlp_bias", true}, {"tie_word_embeddings", true}})},
        {.name = "MistralOfOneWindow",
            .config = config_of("mistral", "MistralForCausalLM", {{"sliding_window", 7}}),
            .windows = {7, 7, 7, 7}},
        {.name = "Qwen2WhoseUpperLayersSlide",
            .config = config_of("qwen2", "Qwen2ForCausalLM", slides),
            .windows = {0, 0, 9, 9}},
        {.name = "Qwen3", .config = config_of("qwen3", "Qwen3ForCausalLM", {{"sliding_window", nullptr}})},
        {.name = "SmolLM3WithUnrotatedLayers",
            .config = config_of("smollm3", "SmolLM3ForCausalLM", {{"no_rope_layers", {1, 0, 1, 0}}}),
            .rotated = {true, false, true, false}},
        {.name = "Phi3OfPartialRotation",
            .config
            = config_of("phi3", "Phi3ForCausalLM", {{"sliding_window", nullptr}, {"partial_rotary_factor", 0.6}}),
            .rotary_dim = 6},
    };
}

/// Random weights under the names of a Hugging Face checkpoint.
Weights draw_weights(const Case& model)
{
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{11});
    Weights weights;
    const auto draw = [&](const std::string& name, std::vector<std::int64_t> shape) {
        const double scale = shape.size() == 2 ? 1 / std::sqrt(static_cast<double>(shape[1])) : 0.5;
        const double mean = name.ends_with("norm.weight") ? 1 : 0;
        weights[name] = at::randn(shape, generator, at::kFloat) * scale + mean;
    };
    const std::int64_t q = heads * head_dim, kv = kv_heads * head_dim;
    draw("model.embed_tokens.weight", {vocab, hidden});
    draw("model.norm.weight", {hidden});
    if (!model.is("tie_word_embeddings"))
        draw("lm_head.weight", {vocab, hidden});
    for (std::int64_t layer = 0; layer < layers; ++layer) {
        const std::string prefix = "model.layers." + std::to_string(layer) + ".";
        const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
            draw(prefix + name + ".weight", {out, in});
            if (bias)
                draw(prefix + name + ".bias", {out});
        };
        draw(prefix + "input_layernorm.weight", {hidden});
        draw(prefix + "post_attention_layernorm.weight", {hidden});
        if (model.type() == "phi3") {
            linear("self_attn.qkv_proj", q + 2 * kv, hidden, false);
            linear("mlp.gate_up_proj", 2 * wide, hidden, false);
        } else {
            linear("self_attn.q_proj", q, hidden, model.has_qkv_bias());
            linear("self_attn.k_proj", kv, hidden, model.has_qkv_bias());
            linear("self_attn.v_proj", kv, hidden, model.has_qkv_bias());
            linear("mlp.gate_proj", wide, hidden, model.is("mlp_bias"));
            linear("mlp.up_proj", wide, hidden, model.is("mlp_bias"));
        }
        linear("self_attn.o_proj", hidden, q, model.is("attention_bias"));
        linear("mlp.down_proj", hidden, wide, model.is("mlp_bias"));
        if (model.type() == "qwen3") {
            draw(prefix + "self_attn.q_norm.weight", {head_dim});
            draw(prefix + "self_attn.k_norm.weight", {head_dim});
        }
    }
    return weights;
}

void write_model(const std::filesystem::path& folder, const Case& model, const Weights& weights)
{
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "config.json") << model.config;
    json header;
    std::string data;
    for (const auto& [name, weight] : weights) {
        const std::size_t begin = data.size();
        data.append(static_cast<const char*>(weight.contiguous().data_ptr()), weight.nbytes());
        header[name] = {{"dtype", "F32"}, {"shape", weight.sizes().vec()}, {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    std::ofstream out(folder / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << text << data;
}

/// The model as its definition says, in double, n x n for all heads at once.
class NaiveDecoder
{
public:
    NaiveDecoder(const Case& model, const Weights& weights)
        : model_(model)
    {
        for (const auto& [name, weight] : weights)
            weights_[name] = weight.to(at::kDouble);
    }

    at::Tensor logits(const std::vector<std::int64_t>& ids) const
    {
        auto x = weights_.at("model.embed_tokens.weight").index_select(0, at::tensor(ids, at::kLong));
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            const std::string prefix = "model.layers." + std::to_string(layer) + ".";
            x = x + attention(norm(x, prefix + "input_layernorm"), layer, prefix + "self_attn.");
            x = x + mlp(norm(x, prefix + "post_attention_layernorm"), prefix + "mlp.");
        }
        const bool tied = model_.is("tie_word_embeddings");
        return at::matmul(
            norm(x, "model.norm"), weights_.at(tied ? "model.embed_tokens.weight" : "lm_head.weight").t());
    }

private:
    at::Tensor norm(const at::Tensor& x, const std::string& name) const
    {
        return x / (x.square().mean(-1, true) + 1e-5).sqrt() * weights_.at(name + ".weight");
    }

    at::Tensor linear(const at::Tensor& x, const std::string& name) const
    {
        const auto product = at::matmul(x, weights_.at(name + ".weight").t());
        const auto bias = weights_.find(name + ".bias");
        return bias == weights_.end() ? product : product + bias->second;
    }

    /// [n, heads * head_dim] -> [heads, n, head_dim]
    static at::Tensor split(const at::Tensor& x) { return x.view({x.size(0), -1, head_dim}).transpose(0, 1); }

    at::Tensor rotate(const at::Tensor& x) const
    {
        auto result = x.clone();
        const std::int64_t half = model_.rotary_dim / 2;
        for (std::int64_t position = 0; position < x.size(1); ++position) {
            for (std::int64_t i = 0; i < half; ++i) {
                const double angle = static_cast<double>(position)
                    * std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(model_.rotary_dim));
                const auto a = x.select(1, position).select(1, i), b = x.select(1, position).select(1, i + half);
                result.select(1, position).select(1, i).copy_(a * std::cos(angle) - b * std::sin(angle));
                result.select(1, position).select(1, i + half).copy_(b * std::cos(angle) + a * std::sin(angle));
            }
        }
        return result;
    }

    at::Tensor attention(const at::Tensor& x, std::int64_t layer, const std::string& prefix) const
    {
        const std::int64_t q_dim = heads * head_dim, kv_dim = kv_heads * head_dim, n = x.size(0);
        std::vector<at::Tensor> qkv;
        if (model_.type() == "phi3")
            qkv = linear(x, prefix + "qkv_proj").split_with_sizes({q_dim, kv_dim, kv_dim}, 1);
        else
            qkv = {linear(x, prefix + "q_proj"), linear(x, prefix + "k_proj"), linear(x, prefix + "v_proj")};
        auto q = split(qkv[0].contiguous()), k = split(qkv[1].contiguous());
        if (model_.type() == "qwen3") {
            q = norm(q, prefix + "q_norm");
            k = norm(k, prefix + "k_norm");
        }
        if (model_.rotated[static_cast<std::size_t>(layer)]) {
            q = rotate(q);
            k = rotate(k);
        }
        k = k.repeat_interleave(heads / kv_heads, 0);
        const auto v = split(qkv[2].contiguous()).repeat_interleave(heads / kv_heads, 0);
        const auto window = model_.windows[static_cast<std::size_t>(layer)];
        auto hidden_keys = at::ones({n, n}, at::kBool).triu(1);
        if (window > 0)
            hidden_keys = hidden_keys.logical_or(at::ones({n, n}, at::kBool).tril(-window));
        const auto scores = at::matmul(q, k.transpose(1, 2)) / std::sqrt(static_cast<double>(head_dim));
        const auto z = at::matmul(at::softmax(scores.masked_fill(hidden_keys, -INFINITY), -1), v);
        return linear(z.transpose(0, 1).reshape({n, q_dim}), prefix + "o_proj");
    }

    at::Tensor mlp(const at::Tensor& x, const std::string& prefix) const
    {
        at::Tensor gate, up;
        if (model_.type() == "phi3") {
            const auto both = linear(x, prefix + "gate_up_proj").split(wide, 1);
            gate = both[0], up = both[1];
        } else {
            gate = linear(x, prefix + "gate_proj"), up = linear(x, prefix + "up_proj");
        }
        return linear(gate * gate.sigmoid() * up, prefix + "down_proj");
    }

    Case model_;
    Weights weights_;
};

std::vector<std::int64_t> some_ids()
{
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < tokens; ++i)
        ids.push_back((i * i + 7 * i + 3) % vocab);
    return ids;
}

double relative_error(const at::Tensor& found, const at::Tensor& expected)
{
    return ((found.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

class Families : public testing::TestWithParam<Case>
{
protected:
    void SetUp() override
    {
        weights = draw_weights(GetParam());
        write_model(folder, GetParam(), weights);
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    Weights weights;
    const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / ("lava_family_" + GetParam().name);
};

TEST_P(Families, HaveTheLogitsOfTheirDefinition)
{
    const auto ids = some_ids();
    const auto expected = NaiveDecoder(GetParam(), weights).logits(ids);
    const Decoder decoder(Checkpoint(folder), {});
    KvCache whole, chunked;
    EXPECT_LT(relative_error(decoder.forward(ids, whole, nullptr, true), expected), relative_tolerance);
    decoder.forward(std::span(ids).first(20), chunked, nullptr, false);
    const auto rest = decoder.forward(std::span(ids).subspan(20), chunked, nullptr, true);
    EXPECT_LT(relative_error(rest, expected.narrow(0, 20, tokens - 20)), relative_tolerance);
}

TEST_P(Families, HaveTheSameBitsWithStreamedWeights)
{
    const auto ids = some_ids();
    for (const char* dtype : {"float32", "bfloat16"}) {
        const Decoder resident(Checkpoint(folder), {.device = "cpu", .dtype = dtype, .stream_weights = false});
        const Decoder streamed(Checkpoint(folder), {.device = "cpu", .dtype = dtype, .stream_weights = true});
        KvCache a, b;
        EXPECT_TRUE(at::equal(resident.forward(ids, a, nullptr, true), streamed.forward(ids, b, nullptr, true)));
        EXPECT_TRUE(at::equal(a.k[layers - 1], b.k[layers - 1]));
        EXPECT_TRUE(at::equal(resident.w_o(1), streamed.w_o(1)));
        EXPECT_EQ(resident.b_o(1).defined(), streamed.b_o(1).defined());
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, Families, testing::ValuesIn(cases()), [](const auto& instance) { return instance.param.name; });

} // namespace
} // namespace lava
