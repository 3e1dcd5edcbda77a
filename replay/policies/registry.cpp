#include "replay/policies/registry.h"

#include "analysis/selection.h"
#include "replay/policies/ada.h"
#include "replay/policies/cam.h"
#include "replay/policies/capkv.h"
#include "replay/policies/chunkkv.h"
#include "replay/policies/compactor.h"
#include "replay/policies/criticalkv.h"
#include "replay/policies/cur.h"
#include "replay/policies/defensivekv.h"
#include "replay/policies/dms.h"
#include "replay/policies/duo_attention.h"
#include "replay/policies/entropy_chunkkv.h"
#include "replay/policies/expected_attention.h"
#include "replay/policies/external.h"
#include "replay/policies/full.h"
#include "replay/policies/headkv.h"
#include "replay/policies/keydiff.h"
#include "replay/policies/knorm.h"
#include "replay/policies/kvpress.h"
#include "replay/policies/kvzip.h"
#include "replay/policies/lagkv.h"
#include "replay/policies/lu_kv.h"
#include "replay/policies/merging.h"
#include "replay/policies/per_layer.h"
#include "replay/policies/presets.h"
#include "replay/policies/qfilter.h"
#include "replay/policies/random.h"
#include "replay/policies/simlayerkv.h"
#include "replay/policies/streaming_llm.h"

#include "base/error.h"
#include "base/output_file.h"

#include <algorithm>
#include <set>
#include <tuple>

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

// Keeps what a choice of compose's pieces keeps.
PolicyInfo composed(std::string pieces, PolicyInfo info)
{
    info.composition = pieces.empty() ? "compose" : "compose:" + pieces;
    return info;
}

const char* const lava_paper = "Shen et al. 2025, Findings of EMNLP, pp. 13672-13692";

// A named set of defaults.
VariantInfo variant(
    std::string name, std::string summary, std::vector<std::pair<std::string, std::string>> defaults = {})
{
    return {std::move(name), std::move(summary), std::move(defaults)};
}

std::vector<VariantInfo> official_lava(bool has_head_floor)
{
    auto official = variant(
        "official", "the released code (MGDDestiny/Lava): value norms without the window", {{"value_norm", "prefix"}});
    if (has_head_floor) {
        official.summary += ", head floor alpha of the nominal budget";
        official.defaults.insert(official.defaults.end(), {{"alpha", "0.2"}, {"floor", "nominal"}});
    }
    return {official};
}

std::vector<VariantInfo> lava_variants()
{
    auto variants = official_lava(true);
    variants.front().in_default_set = true;
    variants.push_back(variant("paper", "as without a variant"));
    variants.push_back(variant("official-inference", "the released code's inference.py: alpha 0.5, no grouping",
        {{"value_norm", "prefix"}, {"alpha", "0.5"}, {"floor", "nominal"}, {"layout", "query_head"}}));
    return variants;
}

// AdaKV's repository (FFY00/AdaKV) without gqa_support: a cache, and a budget, for every query head.
const std::vector<std::pair<std::string, std::string>> by_query_head{{"layout", "query_head"}};

std::vector<VariantInfo> adakv_variants()
{
    return {variant("adakv", "AdaKV's repository: a cache for every query head", by_query_head),
        variant("official", "the same", by_query_head)};
}

// The classes' own defaults, where no configuration is given.
VariantInfo adakv_class()
{
    return variant("adakv-class", "AdaKV's SnapKVCluster by itself: window 64, average of 5",
        {{"window", "64"}, {"kernel", "5"}, {"pool", "avg"}, {"layout", "query_head"}});
}

VariantInfo kvcache_factory(std::vector<std::pair<std::string, std::string>> more, std::string summary = "")
{
    more.insert(more.end(), {{"window", "8"}, {"layout", "query_head"}});
    return variant(
        "kvcache-factory", "KVCache-Factory: window 8, a cache for every query head" + summary, std::move(more));
}

// cakekv's temperatures by model and cache size (model2tau.json); without one both are 1.
std::vector<VariantInfo> cake_variants()
{
    std::vector<VariantInfo> variants{variant("official", "the released code (antgroup/cakekv), temperatures 1"),
        variant("cakekv", "the same"),
        variant("paper", "as LAVa's Eq. 22-24 cite it: maximum of 7", {{"pool", "max"}, {"kernel", "7"}})};
    const std::tuple<const char*, const char*, const char*> taus[]{{"llama3.1-8b-1024", "1.6", "0.4"},
        {"llama3.1-8b-128", "1.6", "0.6"}, {"mistral-0.3-1024", "0.8", "0.5"}, {"mistral-0.3-128", "1", "0.8"},
        {"qwen2.5-7b-1024", "1.5", "0.6"}, {"qwen2.5-7b-128", "0.4", "0.6"}, {"llama2-7b-1024", "1.9", "1.8"},
        {"llama2-7b-128", "0.9", "2.3"}, {"llama2-13b-1024", "0.5", "0.4"}, {"llama2-13b-128", "1.8", "2"}};
    for (const auto& [model, tau1, tau2] : taus) {
        variants.push_back(variant(std::string("cakekv-") + model,
            "cakekv's temperatures for that model and cache size", {{"tau1", tau1}, {"tau2", tau2}}));
    }
    return variants;
}

std::vector<VariantInfo> streaming_variants()
{
    return {variant("adakv", "as without a variant"), variant("kvcache-factory", "as without a variant"),
        variant("kvcache-factory-needle",
            "its needle runner: the 32 most recent, the rest of the budget from the start", {{"recent", "32"}})};
}

const char* const defensive_paper = "Feng et al. 2025, DefensiveKV (FFY0/DefensiveKV)";

std::vector<VariantInfo> defensive_variants()
{
    return {{"official", "the released code, which is the policy's own default", {{"bias", "prefix"}}},
        {"paper", "first stage lowered by the window's own mass", {{"bias", "window"}}}};
}

// kvpress 0.5.5's class of the same name: its defaults, and its way with windows and budgets.
template <typename P> VariantInfo kvpress(std::vector<std::pair<std::string, std::string>> defaults = {})
{
    return {"kvpress", "as kvpress 0.5.5 has it", std::move(defaults), false, make<P>};
}

const std::vector<std::pair<std::string, std::string>> kvpress_snapkv{
    {"window", "64"}, {"kernel", "5"}, {"pool", "avg"}, {"gqa_at", "post_pool"}};

std::vector<VariantInfo> with(std::vector<VariantInfo> variants, VariantInfo more)
{
    variants.push_back(std::move(more));
    return variants;
}

std::vector<PolicyInfo> make_policies()
{
    return {
        unprotected_row<Full>("full", "evicts nothing", "reference: loss 0"),
        row<Random>("random", "window, and random entries", "baseline",
            {kvpress<Kvpress<Random>>({{"window", "0"}, {"generator", "torch"}})}),
        row<StreamingLlm>("streaming-llm", "first tokens and the most recent", "Xiao et al. 2024, arXiv:2309.17453",
            with(streaming_variants(), kvpress<Kvpress<StreamingLlm>>())),
        composed("pool=none,score=columns",
            row<H2O>("h2o", "most attended to by all queries, and the most recent",
                "Zhang et al. 2023, arXiv:2306.14048",
                {kvcache_factory({}),
                    variant("official",
                        "half of the budget for the most recent, as the released code's prefill leaves it",
                        {{"recent", "half"}, {"layout", "query_head"}}),
                    variant("paper", "as LAVa's Eq. 18 cites it: without the diagonal", {{"diagonal", "off"}}),
                    kvpress<KvpressObserved<H2O>>({{"window", "0"}})})),
        row<Tova>("tova", "what the last token attends to", "Oren et al. 2024, arXiv:2401.06104",
            {variant("paper", "as LAVa's Eq. 19 cites it: each group by itself", {{"heads", "group"}}),
                kvpress<Kvpress<Tova>>()}),
        composed("",
            row<SnapKv>("snapkv", "what the window attends to, pooled", "Li et al. 2024, arXiv:2404.14469",
                {variant("adakv", "AdaKV's repository: a cache for every query head", by_query_head), adakv_class(),
                    kvcache_factory({{"reduce", "sum"}}), kvpress<Kvpress<SnapKv>>(kvpress_snapkv)})),
        composed("layers=pyramid",
            row<PyramidKv>("pyramidkv", "snapkv, more in lower layers", "Cai et al. 2024, arXiv:2406.02069",
                {variant("adakv", "AdaKV's repository: a cache for every query head", by_query_head), adakv_class(),
                    kvcache_factory(
                        {{"reduce", "sum"}, {"schedule", "kvcache-factory"}}, ", uniform for short prompts"),
                    variant("paper", "the schedule in real numbers (LAVa's Eq. 21)", {{"schedule", "paper"}}),
                    kvpress<KvpressPyramid<PyramidKv>>(kvpress_snapkv)})),
        composed("value_norm=token,gqa_at=post_pool",
            row<Vatp>("vatp", "window attention x value norm", "Guo et al. 2024, arXiv:2406.12335",
                {variant("paper", "LAVa's Table 4: as without a variant"),
                    variant("official",
                        "the released code's H2O form: column sums, 20 sinks, half of the budget recent",
                        {{"score", "columns"}, {"pool", "none"}, {"recent", "half"}, {"sinks", "20"},
                            {"layout", "query_head"}}),
                    variant("official-scissorhands",
                        "its Scissorhands form: mean of the last 400 queries, 10 recent, 2 int(B / 2)",
                        {{"rows", "400"}, {"window", "10"}, {"pool", "none"}, {"recent", "even"},
                            {"layout", "query_head"}})})),
        composed("heads=layer,floor=0.2",
            row<AdaSnapKv>("ada-snapkv", "snapkv, heads of a layer share its budget",
                "Feng et al. 2024, arXiv:2407.11550",
                with(with(adakv_variants(), kvcache_factory({{"normalize", "on"}}, ", heads weighed")),
                    kvpress<KvpressAdaptive<AdaSnapKv>>(kvpress_snapkv)))),
        composed("layers=pyramid,heads=layer,floor=0.2",
            row<AdaPyramidKv>("ada-pyramidkv", "ada-snapkv, more in lower layers", "Feng et al. 2024, arXiv:2407.11550",
                adakv_variants())),
        composed("reduce=variance,pool=avg,kernel=5,gqa_at=post_pool,layers=preference",
            row<Cake>("cake", "mean and variance of window attention; layers by entropy x variance",
                "Qin et al. 2025, arXiv:2503.12491", cake_variants())),
        composed("value_norm=all,gqa_at=post_pool,gqa=max,layers=entropy,heads=layer",
            row<Lava>("lava", "window attention x largest value norm; dynamic layers and heads", lava_paper,
                lava_variants())),
        composed("value_norm=all,gqa_at=post_pool,gqa=max,heads=layer",
            row<LavaUniform>("lava-uniform", "lava with equal layers", lava_paper, official_lava(true))),
        composed("value_norm=all,gqa_at=post_pool,gqa=max,layers=pyramid,heads=layer",
            row<LavaPyramid>("lava-pyramid", "lava with a pyramid of layers", lava_paper, official_lava(true))),
        composed("value_norm=all,gqa_at=post_pool,gqa=max,layers=entropy",
            row<LavaNoHead>("lava-nohead", "lava with equal heads", lava_paper, official_lava(false))),
        composed("score=loo,reduce=max,heads=layer",
            row<Loo>("loo", "what evicting the entry alone changes in the residual stream", "exact, per layer")),
        composed("score=dropkv,reduce=sum,pool=none,gqa_at=post_pool",
            row<DropKv>("dropkv", "what evicting the entry alone changes in a head's output",
                "DropKV 2026, openreview MqfNzH3TVH")),
        by_name_only(row<HeadKv>("headkv", "snapkv, fixed shares by a file of head importances",
            "Fu et al. 2024, arXiv:2410.19258", {kvcache_factory({})})),
        by_name_only(row<Compose>("compose", "any score, pooling, layer rule and head rule", "a composition")),
        by_name_only(row<Cur>("cur", "shares of squared key and value norms", "Sengupta et al. 2025, arXiv:2509.15038",
            {kvpress<Cur>()})),
        by_name_only(row<CapKv>("capkv", "leverage of values, weighed by a mean query", "CapKV 2026, arXiv:2604.25975",
            {kvpress<CapKv>()})),
        by_name_only(row<EntropyChunkKv>("entropy-chunkkv", "whole chunks, of spiky ones the best tokens",
            "kvpress 0.5.5", {kvpress<EntropyChunkKv>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<DefensiveKv>("defensivekv", "worst-case window attention x projected value norm",
            defensive_paper, defensive_variants())),
        by_name_only(row<LayerDefensiveKv>(
            "layer-defensivekv", "defensivekv, one ranking over all layers", defensive_paper, defensive_variants())),
        by_name_only(row<LuKv>("lu-kv", "any scores, heads by a file of curves", "LU-KV 2026, arXiv:2602.08585",
            {kvpress<LuKv>({{"base", "expected-attention@kvpress:epsilon=0.02"}})})),
        by_name_only(row<Merging>("merging", "evicted values folded into the kept entry of the most similar key",
            "kvpress 0.5.5; after arXiv:2406.13035")),
        by_name_only(row<Cam>(
            "cam", "evicted values spread over the next kept entries", "Zhang et al. 2024, openreview LCTmppB165")),
        by_name_only(row<Dms>("dms", "scores of at least a threshold", "kvpress 0.5.5; after arXiv:2506.05345",
            {kvpress<Dms>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<Ada>("ada", "any scores; the heads of a layer share its budget, each with a safeguard",
            "Feng et al. 2024, arXiv:2407.11550; kvpress", {kvpress<Ada>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<CriticalKv>("criticalkv", "any scores, then times the projected value norm",
            "Feng et al. 2025, arXiv:2502.03805", {kvpress<CriticalKv>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<CriticalAda>("critical-ada", "criticalkv, heads of a layer share its budget as in ada",
            "Feng et al. 2025, arXiv:2502.03805", {kvpress<CriticalAda>({{"base", "snapkv@kvpress"}})})),
        by_name_only(composed("score=knorm,window=0,pool=none",
            row<Knorm>("knorm", "keys of small norm", "Devoto et al. 2024, arXiv:2406.11430",
                {kvpress<Knorm>(),
                    {"kvcache-factory", "KVCache-Factory: layers 0 and 1 keep all; a cache for every query head", {},
                        false, make<KnormBehindTwoLayers>}}))),
        by_name_only(composed("score=keydiff,window=0,pool=none",
            row<KeyDiff>(
                "keydiff", "keys unlike the mean key", "Park et al. 2025, arXiv:2504.15364", {kvpress<KeyDiff>()}))),
        by_name_only(row<LagKv>("lagkv", "keys and values that spread in the units of the next partition",
            "Liang et al. 2025, arXiv:2504.04704", {kvpress<LagKv>()})),
        by_name_only(row<ExpectedAttention>("expected-attention", "what queries to come are expected to attend to",
            "Devoto et al. 2025, arXiv:2510.00636", {kvpress<ExpectedAttention>()})),
        by_name_only(
            row<DuoAttention>("duo-attention", "heads of low score keep first and recent tokens, the others all",
                "Xiao et al. 2024, arXiv:2410.10819", {kvpress<DuoAttention>()})),
        by_name_only(row<SimLayerKv>("simlayerkv", "lazy layers keep first and recent tokens, the others all",
            "Zhang et al. 2024, arXiv:2410.13846", {kvpress<SimLayerKv>({{"threshold", "1"}})})),
        by_name_only(row<ChunkKv>("chunkkv", "whole chunks by the mean of any scores",
            "Liu et al. 2025, arXiv:2502.00299", {kvpress<ChunkKv>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<ChunkWise>(
            "chunk", "any scores of keys and values, each chunk by itself", "kvpress 0.5.5", {kvpress<ChunkWise>()})),
        by_name_only(row<PerLayer>("per-layer", "any scores, a ratio from a file for every layer", "kvpress 0.5.5",
            {kvpress<PerLayer>({{"base", "snapkv@kvpress"}})})),
        by_name_only(row<QFilter>("qfilter", "keys against a direction learned for the model",
            "Godey et al. 2025, arXiv:2503.02812", {kvpress<QFilter>()})),
        by_name_only(row<LeverageScore>("leverage", "keys that the others do not span",
            "Chari et al. 2025, arXiv:2507.08143", {kvpress<LeverageScore>()})),
        by_name_only(row<NonCausal>("noncausal", "attention of all queries of a chunk, not causal, x value norm",
            "Chari et al. 2025, arXiv:2507.08143", {kvpress<NonCausal>()})),
        by_name_only(row<Compactor>(
            "compactor", "leverage and noncausal", "Chari et al. 2025, arXiv:2507.08143", {kvpress<Compactor>()})),
        by_name_only(row<KvZip>("kvzip", "what the model attends to while it repeats the prompt, over all layers",
            "Kim et al. 2025, arXiv:2505.23416", {kvpress<KvZip>()})),
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
    constexpr int most = 8;
    static thread_local int around = 0; // policies whose base is being read
    struct Level
    {
        Level() { ++around; }
        ~Level() { --around; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;
    };
    const Level level;
    if (around > most) {
        throw UsageError("base: expected at most " + std::to_string(most) + " policies around one, found more");
    }
    return parse_policy(without_brackets(text)).canonical;
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

std::unique_ptr<Policy> PolicySpec::make() const
{
    for (const auto& parameter : info->parameters) {
        if (parameter.kind == ParameterInfo::Kind::file && params.has(parameter.name)) {
            const auto& file = params.text(parameter.name);
            if (is_device_or_pipe(file)) { // what is not there is named where it is read
                throw Error(file + ": cannot be read: policy " + info->name
                    + " expects a regular file, found a device, a pipe or a socket");
            }
        }
    }
    return maker(params);
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
    spec.maker = variant != nullptr && variant->make != nullptr ? variant->make : spec.info->make;
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
    for (auto& spec : specs) {
        spec.is_required = false;
    }
    return specs;
}

} // namespace lava
