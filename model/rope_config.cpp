#include "model/rope_config.h"

#include "base/formatted.h"
#include "model/config_section.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

namespace lava {

namespace {

struct RopeName
{
    std::string_view name;
    RopeType type;
};
constexpr std::array rope_names{RopeName{"default", RopeType::standard}, RopeName{"linear", RopeType::linear},
    RopeName{"dynamic", RopeType::dynamic}, RopeName{"llama3", RopeType::llama3}, RopeName{"yarn", RopeType::yarn},
    RopeName{"longrope", RopeType::longrope}, RopeName{"su", RopeType::longrope}};

/// Whatever else stands in the section may change the arithmetic. "finetuned" says how a YaRN model came about.
constexpr std::array known_keys{"rope_type", "type", "rope_theta", "partial_rotary_factor", "factor",
    "original_max_position_embeddings", "attention_factor", "attn_factor", "beta_fast", "beta_slow", "mscale",
    "mscale_all_dim", "truncate", "short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "finetuned"};

RopeType parse_type(const ConfigSection& section, std::string_view key, const RopeContext& context)
{
    const std::string name = section.text(key);
    const auto* found = std::ranges::find(rope_names, name, &RopeName::name);
    if (found == rope_names.end())
        section.fail(key, "expected default, linear, dynamic, llama3, yarn or longrope, found \"" + name + "\"");
    return found->type == RopeType::yarn && context.is_phi3 ? RopeType::longrope : found->type;
}

/// rope_type or, older, type. Where neither is there, nothing is stretched, but then nothing must say how.
RopeType read_type(const ConfigSection& section, const RopeContext& context)
{
    const auto stretches
        = [](const auto& item) { return item.key() != "rope_theta" && item.key() != "partial_rotary_factor"; };
    const auto items = section.values().items();
    if (!section.find("type") && !section.find("rope_type") && std::none_of(items.begin(), items.end(), stretches))
        return RopeType::standard;
    if (!section.find("type"))
        return parse_type(section, "rope_type", context);
    const RopeType type = parse_type(section, "type", context);
    if (section.find("rope_type") && parse_type(section, "rope_type", context) != type)
        section.fail("type", "contradicts rope_type");
    return type;
}

/// The value of a key that may stand at top level, in the section or in both.
template <typename Value>
Value read_once(const ConfigSection& config, const ConfigSection* section, const char* key, Value absent,
    Value (ConfigSection::*read)(std::string_view) const)
{
    const bool inside = section && section->find(key);
    if (inside && config.find(key) && (section->*read)(key) != (config.*read)(key))
        section->fail(key, "contradicts the top level's");
    return inside ? (section->*read)(key) : config.find(key) ? (config.*read)(key) : absent;
}

std::int64_t rotated_dimensions(const ConfigSection& config, const ConfigSection* section, const RopeContext& context)
{
    const char* key = "partial_rotary_factor";
    const ConfigSection& place = section && section->find(key) ? *section : config;
    const double share = read_once(config, section, key, 1.0, &ConfigSection::positive);
    if (share != 1 && !context.is_phi3)
        place.fail(key,
            "expected 1 in a model that is no Phi-3, found " + place.require(key).dump()
                + ": transformers rotates whole heads all the same, vLLM this share of them");
    const auto dim = static_cast<std::int64_t>(static_cast<double>(context.head_dim) * share);
    if (share == 1 && dim % 2 != 0)
        config.fail("head_dim", formatted("expected an even number of dimensions to rotate, found {}", dim));
    if (share > 1 || dim % 2 != 0 || dim < 2)
        place.fail(key,
            formatted("expected an even number of at most head_dim {} dimensions to rotate, found {}", context.head_dim,
                dim));
    return dim;
}

/// Context of training: the section's. A Phi-3 has it at the top level, and where that says nothing, its 4096 counts
/// whatever the section says. In other models the top level's is seen by nobody.
std::int64_t read_original_context(
    const ConfigSection& config, const ConfigSection& section, const RopeContext& context)
{
    const char* key = "original_max_position_embeddings";
    const std::int64_t absent = context.is_phi3 ? 4096 : context.max_position_embeddings;
    const std::int64_t found = read_once(config, &section, key, absent, &ConfigSection::size);
    if (context.is_phi3 && !config.find(key) && found != absent) {
        section.fail(key,
            formatted("a Phi-3 takes {} where the top level of config.json does not say it, found {}; expected the "
                      "same at the top level",
                absent, found));
    }
    if (!context.is_phi3 && !section.find(key) && found != absent)
        config.fail(key,
            "expected beside rope_type, found at the top level, where transformers takes no notice of it in a model "
            "that is no Phi-3");
    return found;
}

/// attn_factor is no key of transformers, nor of vLLM from 0.30 on, which take no notice of it; vLLM 0.28 and SGLang
/// multiply by it.
std::string note_of(const ConfigSection& section)
{
    const char* key = "attn_factor";
    if (!section.find(key) || section.positive(key) == 1)
        return "";
    return section.name_of(key) + " " + section.require(key).dump()
        + " is not applied, as in transformers; vLLM before 0.30 multiplies the rotary embedding by it, and its "
          "attention differs";
}

/// 0.1 m ln(s) + 1: the temperature of YaRN (Peng et al. 2023, eq. 22), with the factor m that DeepSeek added.
double yarn_temperature(double scale, double m = 1)
{
    return scale <= 1 ? 1 : 0.1 * m * std::log(scale) + 1;
}

void read_yarn(const ConfigSection& section, RopeConfig& rope)
{
    const bool ratio = section.find("mscale") && section.find("mscale_all_dim");
    const double given = ratio ? yarn_temperature(rope.factor, section.positive("mscale"))
            / yarn_temperature(rope.factor, section.positive("mscale_all_dim"))
                               : yarn_temperature(rope.factor);
    rope.attention_factor = section.positive_or("attention_factor", given);
    rope.beta_fast = section.positive_or("beta_fast", 32);
    rope.beta_slow = section.positive_or("beta_slow", 1);
    rope.truncate = section.boolean_or("truncate", true);
    if (rope.beta_fast < rope.beta_slow)
        section.fail("beta_fast", "expected at least beta_slow, found " + section.require("beta_fast").dump());
}

void read_longrope(const ConfigSection& section, const RopeContext& context, RopeConfig& rope)
{
    for (const char* key : {"short_factor", "long_factor"}) {
        if (std::ssize(section.positive_list(key)) != rope.dim / 2)
            section.fail(key,
                formatted("expected {} numbers, one for each pair of dimensions, found {}", rope.dim / 2,
                    section.require(key).size()));
    }
    rope.short_factor = section.positive_list("short_factor");
    rope.long_factor = section.positive_list("long_factor");
    const auto original = static_cast<double>(rope.original_context);
    rope.factor = section.positive_or("factor", static_cast<double>(context.max_position_embeddings) / original);
    const double stretched = std::sqrt(1 + std::log(rope.factor) / std::log(original));
    rope.attention_factor = section.positive_or("attention_factor", rope.factor <= 1 ? 1 : stretched);
}

void read_llama3(const ConfigSection& section, RopeConfig& rope)
{
    rope.low_freq_factor = section.positive("low_freq_factor");
    rope.high_freq_factor = section.positive("high_freq_factor");
    if (rope.high_freq_factor <= rope.low_freq_factor)
        section.fail("high_freq_factor",
            "expected more than low_freq_factor, found " + section.require("high_freq_factor").dump());
}

void read_dynamic(const ConfigSection& section, const RopeContext& context, RopeConfig& rope)
{
    // versions of transformers disagree on what another value would mean
    section.expect_if_given("original_max_position_embeddings", context.max_position_embeddings);
    rope.original_context = context.max_position_embeddings;
    if (rope.dim == 2)
        section.fail("rope_type", "dynamic needs more than 2 rotated dimensions");
}

void read_stretching(
    const ConfigSection& config, const ConfigSection& section, const RopeContext& context, RopeConfig& rope)
{
    for (const auto& [key, value] : section.values().items())
        if (!value.is_null() && std::ranges::find(known_keys, key) == known_keys.end())
            section.fail(key, "unknown parameter of the rotary embedding, found " + value.dump());
    rope.type = read_type(section, context);
    rope.note = note_of(section);
    if (rope.type == RopeType::standard)
        return;
    if (rope.type != RopeType::longrope) {
        rope.factor = section.positive("factor");
        if (rope.factor < 1)
            section.fail("factor", "expected at least 1, found " + section.require("factor").dump());
    }
    if (rope.type == RopeType::dynamic)
        return read_dynamic(section, context, rope);
    rope.original_context = read_original_context(config, section, context);
    if (rope.type == RopeType::llama3)
        read_llama3(section, rope);
    else if (rope.type == RopeType::yarn)
        read_yarn(section, rope);
    else if (rope.type == RopeType::longrope)
        read_longrope(section, context, rope);
}

/// {} is as good as nothing.
std::optional<ConfigSection> object_that_says_something(const ConfigSection& config, std::string_view key)
{
    auto object = config.object(key);
    return object && object->values().empty() ? std::nullopt : std::move(object);
}

} // namespace

RopeConfig read_rope_config(const ConfigSection& config, const RopeContext& context)
{
    const auto parameters = object_that_says_something(config, "rope_parameters");
    const auto scaling = object_that_says_something(config, "rope_scaling");
    if (parameters && scaling && parameters->values() != scaling->values())
        config.fail("rope_scaling", "contradicts rope_parameters");
    const auto& section = parameters ? parameters : scaling;
    const ConfigSection* found = section ? &*section : nullptr;

    RopeConfig rope;
    rope.theta = read_once(config, found, "rope_theta", context.default_theta, &ConfigSection::positive);
    rope.dim = rotated_dimensions(config, found, context);
    if (found)
        read_stretching(config, *found, context, rope);
    return rope;
}

std::int64_t context_length(const RopeConfig& rope, std::int64_t max_position_embeddings)
{
    const auto stretched
        = [&](std::int64_t length) { return static_cast<std::int64_t>(static_cast<double>(length) * rope.factor); };
    switch (rope.type) {
    case RopeType::linear: // max_position_embeddings may be the original context or the stretched one:
    case RopeType::dynamic: // files have both, and nothing tells them apart
        return stretched(max_position_embeddings);
    case RopeType::yarn:
        return std::max(max_position_embeddings, stretched(rope.original_context));
    case RopeType::standard:
    case RopeType::llama3:
    case RopeType::longrope:
        break;
    }
    return max_position_embeddings;
}

} // namespace lava
