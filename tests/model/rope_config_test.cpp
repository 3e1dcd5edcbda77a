#include "model/rope_config.h"

#include "base/error.h"
#include "model/config_section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace lava {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const RopeContext context{.head_dim = 8, .max_position_embeddings = 1024, .default_theta = 5000, .is_phi3 = false};
const RopeContext of_phi3{.head_dim = 8, .max_position_embeddings = 1024, .default_theta = 5000, .is_phi3 = true};

RopeConfig read(const json& values, const RopeContext& given = context)
{
    return read_rope_config(ConfigSection("config.json", values), given);
}

/// The section rope_scaling as transformers 4 writes it.
json scaling(const json& section)
{
    return {{"rope_theta", 1e4}, {"rope_scaling", section}};
}

/// The same, as transformers 5 does.
json parameters(const json& given)
{
    json section = given;
    section["rope_theta"] = 1e4;
    return {{"rope_parameters", section}};
}

void expect_rope_refused(const json& values, const std::string& reason)
{
    EXPECT_THAT([&] { read(values); }, ThrowsMessage<Error>(HasSubstr("config.json: " + reason))) << values;
}

TEST(RopeConfig, IsTheSameInBothSpellings)
{
    for (const auto& spelled : {scaling, parameters}) {
        const auto linear = read(spelled({{"rope_type", "linear"}, {"factor", 2.5}}));
        EXPECT_EQ(linear.type, RopeType::linear);
        EXPECT_EQ(linear.factor, 2.5);
        EXPECT_EQ(linear.theta, 1e4);
        EXPECT_EQ(linear.dim, 8);
        const auto llama3 = read(spelled({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 256}}));
        EXPECT_EQ(llama3.type, RopeType::llama3);
        EXPECT_EQ(llama3.low_freq_factor, 1);
        EXPECT_EQ(llama3.high_freq_factor, 4);
        EXPECT_EQ(llama3.original_context, 256);
        const auto dynamic = read(spelled({{"rope_type", "dynamic"}, {"factor", 2}}));
        EXPECT_EQ(dynamic.type, RopeType::dynamic);
        EXPECT_EQ(dynamic.original_context, 1024);
        EXPECT_EQ(read(spelled({{"rope_type", "default"}})).type, RopeType::standard);
    }
    EXPECT_EQ(read(scaling({{"type", "linear"}, {"factor", 2}})).type, RopeType::linear) << "before transformers 4.43";
    EXPECT_EQ(read(scaling({{"type", "linear"}, {"rope_type", "linear"}, {"factor", 2}})).type, RopeType::linear);
    EXPECT_EQ(read(scaling(nullptr)).type, RopeType::standard);
}

TEST(RopeConfig, OfYarnHasThePapersDefaults)
{
    json section = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 256}};
    const auto yarn = read(scaling(section));
    EXPECT_EQ(yarn.original_context, 256);
    EXPECT_EQ(yarn.beta_fast, 32);
    EXPECT_EQ(yarn.beta_slow, 1);
    EXPECT_TRUE(yarn.truncate);
    EXPECT_DOUBLE_EQ(yarn.attention_factor, 0.1 * std::log(4.0) + 1);
    section.update({{"mscale", 2.0}, {"mscale_all_dim", 0.5}, {"truncate", false}, {"beta_fast", 16}});
    const auto given = read(scaling(section));
    EXPECT_DOUBLE_EQ(given.attention_factor, (0.2 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1));
    EXPECT_FALSE(given.truncate);
    EXPECT_EQ(given.beta_fast, 16);
    section["attention_factor"] = 1.5;
    EXPECT_EQ(read(scaling(section)).attention_factor, 1.5);
    section.erase("original_max_position_embeddings");
    EXPECT_EQ(read(scaling(section)).original_context, 1024) << "as in transformers";
}

TEST(RopeConfig, OfPhi3FindsTheOriginalContextAtTopLevel)
{
    const json section
        = {{"type", "su"}, {"short_factor", {1.0, 1.1, 1.2, 1.3}}, {"long_factor", {1.0, 2.0, 3.0, 4.0}}};
    json values = scaling(section);
    values["original_max_position_embeddings"] = 64;
    const auto longrope = read(values, of_phi3);
    EXPECT_EQ(longrope.type, RopeType::longrope);
    EXPECT_EQ(longrope.original_context, 64);
    EXPECT_THAT(longrope.long_factor, ElementsAre(1, 2, 3, 4));
    EXPECT_DOUBLE_EQ(longrope.attention_factor, std::sqrt(1 + std::log(1024.0 / 64) / std::log(64.0)));
    values["rope_scaling"]["factor"] = 2.0;
    EXPECT_DOUBLE_EQ(read(values, of_phi3).attention_factor, std::sqrt(1 + std::log(2.0) / std::log(64.0)));
    values["rope_scaling"]["attention_factor"] = 1.25;
    EXPECT_EQ(read(values, of_phi3).attention_factor, 1.25);
    values["rope_scaling"]["type"] = "yarn";
    EXPECT_EQ(read(values, of_phi3).type, RopeType::longrope);
    expect_rope_refused(values, "original_max_position_embeddings: expected beside rope_type, found at the top level");
    values["rope_scaling"]["original_max_position_embeddings"] = 32;
    values["rope_scaling"]["type"] = "longrope";
    expect_rope_refused(values, "rope_scaling.original_max_position_embeddings: contradicts");
    values["rope_scaling"].update({{"original_max_position_embeddings", 64}, {"long_factor", {1.0}}});
    expect_rope_refused(values, "rope_scaling.long_factor: expected 4 numbers");
}

TEST(RopeConfig, OfPhi3HasAnOriginalContextOf4096WhereTheTopLevelHasNone)
{
    json section = {{"type", "longrope"}, {"short_factor", {1.0, 1.1, 1.2, 1.3}}, {"long_factor", {1., 2., 3., 4.}}};
    EXPECT_EQ(read(scaling(section), of_phi3).original_context, 4096);
    section["original_max_position_embeddings"] = 2048;
    EXPECT_THAT([&] { read(scaling(section), of_phi3); },
        ThrowsMessage<Error>(HasSubstr("a Phi-3 takes 4096 where the top level of config.json does not say it")));
    EXPECT_EQ(read(scaling(section)).original_context, 2048) << "in other families it is the section's";
}

TEST(RopeConfig, RotatesAShareOfThePhi3Head)
{
    json values = {{"rope_theta", 1e4}, {"partial_rotary_factor", 0.75}};
    EXPECT_EQ(read(values, of_phi3).dim, 6);
    EXPECT_EQ(read(parameters({{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}), of_phi3).dim, 4);
    expect_rope_refused(values, "partial_rotary_factor: expected 1 in a model that is no Phi-3, found 0.75");
    for (const double share : {0.4, 2.0}) {
        values["partial_rotary_factor"] = share;
        EXPECT_THAT([&] { read(values, of_phi3); },
            ThrowsMessage<Error>(HasSubstr("partial_rotary_factor: expected an even number of at most head_dim 8")));
    }
    values["partial_rotary_factor"] = 1.0;
    EXPECT_EQ(read(values).dim, 8);
}

TEST(RopeConfig, OfNoTypeStretchesNothing)
{
    EXPECT_EQ(read(json::object()).theta, 5000) << "the family's";
    EXPECT_EQ(read(scaling(json::object())).type, RopeType::standard);
    EXPECT_EQ(read(parameters({{"partial_rotary_factor", 1.0}})).type, RopeType::standard);
    EXPECT_EQ(read(parameters(json::object())).theta, 1e4);
    const json both = {{"rope_parameters", json::object()}, {"rope_scaling", {{"type", "linear"}, {"factor", 2}}}};
    EXPECT_EQ(read(both).type, RopeType::linear);
}

/// DeepSeek-R1-0528-Qwen3-8B has such an attn_factor: vLLM's attention is that of factor 1, transformers' that of
/// YaRN's own factor.
TEST(RopeConfig, NotesAnAttnFactorThatTransformersIgnores)
{
    json section = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 256},
        {"attn_factor", 0.8782488562869419}};
    EXPECT_DOUBLE_EQ(read(scaling(section)).attention_factor, 0.1 * std::log(4.0) + 1);
    EXPECT_EQ(read(scaling(section)).note,
        "rope_scaling.attn_factor 0.8782488562869419 is not applied, as in transformers; vLLM before 0.30 multiplies "
        "the rotary embedding by it, and its attention differs");
    section["attn_factor"] = 1.0;
    EXPECT_EQ(read(scaling(section)).note, "");
    section["attn_factor"] = -1;
    expect_rope_refused(scaling(section), "rope_scaling.attn_factor: expected a positive number, found -1");
}

TEST(RopeConfig, RefusesWhatItDoesNotKnow)
{
    expect_rope_refused(scaling({{"rope_type", "ntk"}, {"factor", 2.0}}),
        "rope_scaling.rope_type: expected default, linear, dynamic, llama3, yarn or longrope, found \"ntk\"");
    expect_rope_refused(parameters({{"rope_type", "default"}, {"mrope_section", {1, 2, 1}}}),
        "rope_parameters.mrope_section: unknown parameter");
    expect_rope_refused(scaling({{"factor", 2.0}}), "rope_scaling.rope_type: expected a value, found none");
    expect_rope_refused(parameters({{"factor", 2.0}}), "rope_parameters.rope_type: expected a value, found none");
    expect_rope_refused(scaling({{"rope_type", "linear"}}), "rope_scaling.factor: expected a value, found none");
    expect_rope_refused(
        scaling({{"rope_type", "linear"}, {"factor", 0.5}}), "rope_scaling.factor: expected at least 1");
    expect_rope_refused(
        scaling({{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
        "rope_scaling.high_freq_factor: expected more than low_freq_factor");
    expect_rope_refused(scaling({{"rope_type", "dynamic"}, {"factor", 2}, {"original_max_position_embeddings", 512}}),
        "rope_scaling.original_max_position_embeddings: only 1024 is supported, found 512");
}

TEST(RopeConfig, RefusesContradictions)
{
    expect_rope_refused(scaling({{"rope_type", "linear"}, {"type", "dynamic"}, {"factor", 2}}),
        "rope_scaling.type: contradicts rope_type");
    json values = parameters({{"rope_type", "default"}});
    values["rope_theta"] = 5e5;
    expect_rope_refused(values, "rope_parameters.rope_theta: contradicts the top level's");
    values = parameters({{"rope_type", "default"}});
    values["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2}};
    expect_rope_refused(values, "rope_scaling: contradicts rope_parameters");
}

TEST(ContextLength, IsStretchedWhereTheFilesGiveTheOriginalOne)
{
    RopeConfig rope;
    rope.factor = 4;
    EXPECT_EQ(context_length(rope, 1024), 1024);
    rope.type = RopeType::dynamic;
    EXPECT_EQ(context_length(rope, 1024), 4096);
    rope.type = RopeType::yarn;
    rope.original_context = 1024;
    EXPECT_EQ(context_length(rope, 1024), 4096);
    rope.original_context = 256;
    EXPECT_EQ(context_length(rope, 1024), 1024);
    rope.type = RopeType::llama3;
    EXPECT_EQ(context_length(rope, 1024), 1024);
}

} // namespace
} // namespace lava
