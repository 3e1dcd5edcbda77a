#include "replay/registry.h"

#include "replay/external.h"
#include "replay/policies/adakv.h"
#include "replay/policies/cake.h"
#include "replay/policies/cam.h"
#include "replay/policies/capkv.h"
#include "replay/policies/cur.h"
#include "replay/policies/defensivekv.h"
#include "replay/policies/dms.h"
#include "replay/policies/entropy_chunkkv.h"
#include "replay/policies/full.h"
#include "replay/policies/h2o.h"
#include "replay/policies/lava.h"
#include "replay/policies/lu_kv.h"
#include "replay/policies/merging.h"
#include "replay/policies/pyramidkv.h"
#include "replay/policies/random.h"
#include "replay/policies/snapkv.h"
#include "replay/policies/streaming_llm.h"
#include "replay/policies/tova.h"
#include "replay/policies/vatp.h"

#include "traces/error.h"

#include <algorithm>
#include <set>

namespace lava {

namespace {

template <typename P> std::unique_ptr<Policy> make(const PolicyParams& params)
{
    return std::make_unique<P>(params);
}

template <typename P>
PolicyInfo row(std::string name, std::string summary, std::string citation, std::vector<VariantInfo> variants = {})
{
    auto parameters = P::parameters();
    // a file's name takes the rest of a spelling, so that nothing may come behind it
    const bool file_is_last = !parameters.empty() && parameters.back().kind == ParameterInfo::Kind::file;
    parameters.insert(parameters.end() - (file_is_last ? 1 : 0), protect_parameter());
    return {
        std::move(name), std::move(summary), std::move(citation), std::move(parameters), std::move(variants), make<P>};
}

// A policy that has nothing to protect: it keeps all, or a given set.
template <typename P> PolicyInfo unprotected_row(std::string name, std::string summary, std::string citation)
{
    return {std::move(name), std::move(summary), std::move(citation), P::parameters(), {}, make<P>};
}

// Replayed only where it is named.
PolicyInfo by_name_only(PolicyInfo info)
{
    info.in_default_set = false;
    return info;
}

using LavaPaper = LavaOf<Lava::Layers::entropy, Lava::Heads::layer_wide>;
using LavaUniform = LavaOf<Lava::Layers::uniform, Lava::Heads::layer_wide>;
using LavaPyramid = LavaOf<Lava::Layers::pyramid, Lava::Heads::layer_wide>;
using LavaNoHead = LavaOf<Lava::Layers::entropy, Lava::Heads::uniform>;

const char* const lava_paper = "Shen et al. 2025, Findings of EMNLP, pp. 13672-13692";

std::vector<VariantInfo> official_lava(bool has_head_floor, bool in_default_set = false)
{
    VariantInfo variant{"official", "the released code (MGDDestiny/Lava): value norms without the window",
        {{"value_norm", "prefix"}}, in_default_set};
    if (has_head_floor) {
        variant.summary += ", head floor alpha of the nominal budget";
        variant.defaults.insert(variant.defaults.end(), {{"alpha", "0.2"}, {"floor", "nominal"}});
    }
    return {variant};
}

const char* const defensive_paper = "Feng et al. 2025, DefensiveKV (FFY0/DefensiveKV)";

std::vector<VariantInfo> defensive_variants()
{
    return {{"official", "the released code, which is the policy's own default", {{"bias", "prefix"}}},
        {"paper", "first stage lowered by the window's own mass", {{"bias", "window"}}}};
}

std::vector<PolicyInfo> make_policies()
{
    return {
        unprotected_row<Full>("full", "evicts nothing", "reference: loss 0"),
        row<Random>("random", "window, and random entries", "baseline"),
        row<StreamingLlm>("streaming-llm", "first tokens and the most recent", "Xiao et al. 2024, arXiv:2309.17453"),
        row<H2O>("h2o", "most attended to by all queries, and the most recent", "Zhang et al. 2023, arXiv:2306.14048"),
        row<Tova>("tova", "what the last token attends to", "Oren et al. 2024, arXiv:2401.06104"),
        row<SnapKv>("snapkv", "what the window attends to, pooled", "Li et al. 2024, arXiv:2404.14469"),
        row<PyramidKv>("pyramidkv", "snapkv, more in lower layers", "Cai et al. 2024, arXiv:2406.02069"),
        row<Vatp>("vatp", "window attention x value norm", "Guo et al. 2024, arXiv:2406.12335"),
        row<AdaSnapKv>("ada-snapkv", "snapkv, heads of a layer share its budget", "Feng et al. 2024, arXiv:2407.11550"),
        row<AdaPyramidKv>("ada-pyramidkv", "ada-snapkv, more in lower layers", "Feng et al. 2024, arXiv:2407.11550"),
        row<Cake>("cake", "mean and variance of window attention; layers by entropy x variance",
            "Qin et al. 2025, arXiv:2503.12491"),
        row<LavaPaper>("lava", "window attention x largest value norm; dynamic layers and heads", lava_paper,
            official_lava(true, /*in_default_set=*/true)),
        row<LavaUniform>("lava-uniform", "lava with equal layers", lava_paper, official_lava(true)),
        row<LavaPyramid>("lava-pyramid", "lava with a pyramid of layers", lava_paper, official_lava(true)),
        row<LavaNoHead>("lava-nohead", "lava with equal heads", lava_paper, official_lava(false)),
        by_name_only(
            row<Cur>("cur", "shares of squared key and value norms", "Sengupta et al. 2025, arXiv:2509.15038")),
        by_name_only(
            row<CapKv>("capkv", "leverage of values, weighed by a mean query", "CapKV 2026, arXiv:2604.25975")),
        by_name_only(
            row<EntropyChunkKv>("entropy-chunkkv", "whole chunks, of spiky ones the best tokens", "kvpress 0.5.5")),
        by_name_only(row<DefensiveKv>("defensivekv", "worst-case window attention x projected value norm",
            defensive_paper, defensive_variants())),
        by_name_only(row<LayerDefensiveKv>(
            "layer-defensivekv", "defensivekv, one ranking over all layers", defensive_paper, defensive_variants())),
        by_name_only(row<LuKv>("lu-kv", "any scores, heads by a file of curves", "LU-KV 2026, arXiv:2602.08585")),
        by_name_only(row<Merging>("merging", "evicted values folded into the kept entry of the most similar key",
            "kvpress 0.5.5; after arXiv:2406.13035")),
        by_name_only(row<Cam>(
            "cam", "evicted values spread over the next kept entries", "Zhang et al. 2024, openreview LCTmppB165")),
        by_name_only(row<Dms>("dms", "scores of at least a threshold", "kvpress 0.5.5; after arXiv:2506.05345")),
        by_name_only(
            unprotected_row<External>("external", "a retained set from a file", "JSON of lava-analyze retained")),
    };
}

template <typename Items> std::string names_of(const Items& items)
{
    std::string names;
    for (const auto& item : items) {
        names += (names.empty() ? "" : ", ") + item.name;
    }
    return names.empty() ? "none" : names;
}

template <typename Items> const auto* find_named(const Items& items, std::string_view name)
{
    const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.name == name; });
    return found == items.end() ? nullptr : &*found;
}

std::string_view trimmed(std::string_view text)
{
    const auto begin = text.find_first_not_of(" \t");
    return begin == std::string_view::npos ? std::string_view()
                                           : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// base=[snapkv:window=16] names its policy without the brackets, in canonical spelling.
std::string canonical_base(std::string_view text)
{
    const bool bracketed = text.size() > 1 && text.front() == '[' && text.back() == ']';
    return parse_policy(bracketed ? text.substr(1, text.size() - 2) : text).canonical;
}

const ParameterInfo& parameter_named(const PolicyInfo& info, std::string_view assignment)
{
    const auto equals = assignment.find('=');
    const auto key = trimmed(assignment.substr(0, equals));
    const auto* parameter = find_named(info.parameters, key);
    if (parameter == nullptr) {
        throw UsageError("policy " + info.name + ": unknown parameter '" + std::string(key)
            + "'; known: " + names_of(info.parameters));
    }
    if (equals == std::string_view::npos) {
        throw UsageError("policy " + info.name + ": " + parameter->name + ": expected KEY=VALUE, found no value");
    }
    return *parameter;
}

void apply(PolicySpec& spec, const ParameterInfo& parameter, std::string_view value, std::set<std::string>& given)
{
    const auto& info = *spec.info;
    if (!given.insert(parameter.name).second) {
        throw UsageError("policy " + info.name + ": " + parameter.name + ": expected one value, found two");
    }
    const bool is_policy = parameter.kind == ParameterInfo::Kind::policy;
    spec.params.set(parameter, info.name, is_policy ? canonical_base(value) : value);
}

// Where the first assignment ends: at a comma that is not inside brackets.
std::size_t assignment_end(std::string_view assignments)
{
    int depth = 0;
    for (std::size_t i = 0; i < assignments.size(); ++i) {
        depth += assignments[i] == '[' ? 1 : assignments[i] == ']' ? -1 : 0;
        if (assignments[i] == ',' && depth <= 0) {
            return i;
        }
    }
    return std::string_view::npos;
}

void apply_all(PolicySpec& spec, std::string_view assignments)
{
    std::set<std::string> given;
    while (true) {
        const auto& parameter = parameter_named(*spec.info, assignments);
        const bool takes_the_rest = parameter.kind == ParameterInfo::Kind::file; // its name may hold commas
        const auto end = takes_the_rest ? std::string_view::npos : assignment_end(assignments);
        const auto assignment = assignments.substr(0, end);
        apply(spec, parameter, trimmed(assignment.substr(assignment.find('=') + 1)), given);
        if (end == std::string_view::npos) {
            return;
        }
        assignments.remove_prefix(end + 1);
    }
}

PolicyParams default_params(const PolicyInfo& info, const VariantInfo* variant)
{
    PolicyParams params;
    for (const auto& parameter : info.parameters) {
        if (!parameter.default_value.empty()) {
            params.set(parameter, info.name, parameter.default_value);
        }
    }
    if (variant != nullptr) {
        for (const auto& [name, value] : variant->defaults) {
            params.set(*find_named(info.parameters, name), info.name, value);
        }
    }
    return params;
}

std::string canonical_spelling(const PolicySpec& spec, const PolicyParams& defaults)
{
    auto text = spec.info->name + (spec.variant.empty() ? "" : "@" + spec.variant);
    auto separator = ':';
    for (const auto& parameter : spec.info->parameters) {
        const auto& value = spec.params.text(parameter.name);
        if (!defaults.has(parameter.name) || value != defaults.text(parameter.name)) {
            const bool nested
                = parameter.kind == ParameterInfo::Kind::policy && value.find_first_of(",:") != std::string::npos;
            text += separator + parameter.name + '=' + (nested ? "[" + value + "]" : value);
            separator = ',';
        }
    }
    return text;
}

} // namespace

std::span<const PolicyInfo> policies()
{
    static const auto rows = make_policies();
    return rows;
}

PolicySpec parse_policy(std::string_view text)
{
    const auto colon = text.find(':');
    const auto head = trimmed(text.substr(0, colon));
    const auto at = head.find('@');
    const auto name = trimmed(head.substr(0, at));
    PolicySpec spec;
    spec.info = find_named(policies(), name);
    if (spec.info == nullptr) {
        throw UsageError("unknown policy '" + std::string(name) + "'; known: " + names_of(policies()));
    }
    const VariantInfo* variant = nullptr;
    if (at != std::string_view::npos) {
        spec.variant = trimmed(head.substr(at + 1));
        variant = find_named(spec.info->variants, spec.variant);
        if (variant == nullptr) {
            throw UsageError("policy " + spec.info->name + ": unknown variant '" + spec.variant
                + "'; known: " + names_of(spec.info->variants));
        }
    }
    const auto defaults = default_params(*spec.info, variant);
    spec.params = defaults;
    if (colon != std::string_view::npos) {
        apply_all(spec, text.substr(colon + 1));
    }
    for (const auto& parameter : spec.info->parameters) {
        if (!spec.params.has(parameter.name)) {
            throw UsageError("policy " + spec.info->name + ": parameter '" + parameter.name + "' must be given");
        }
    }
    spec.canonical = canonical_spelling(spec, defaults);
    return spec;
}

std::vector<PolicySpec> default_policies()
{
    std::vector<PolicySpec> specs;
    for (const auto& info : policies()) {
        if (info.in_default_set) {
            specs.push_back(parse_policy(info.name));
        }
        for (const auto& variant : info.variants) {
            if (variant.in_default_set) {
                specs.push_back(parse_policy(info.name + "@" + variant.name));
            }
        }
    }
    return specs;
}

} // namespace lava
