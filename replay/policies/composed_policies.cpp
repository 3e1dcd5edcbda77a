// The policies that are a choice of compose's pieces. A row's pieces are the policy's definition: they are given to
// compose, changed by the row's own parameters. What they do not say is as compose has it, and so are the parameters'
// defaults.

#include "replay/policies/compose.h"
#include "replay/policies/composition.h"
#include "replay/policies/headkv.h"
#include "replay/policies/keydiff.h"
#include "replay/policies/knorm.h"
#include "replay/policies/kvpress.h"
#include "replay/policies/policy_rows.h"

#include <tuple>

namespace lava {

namespace {

using Parameters = std::vector<ParameterInfo>;

// `P`: Composed, or a policy that adds a rule to it. `names`: of parameters that compose knows otherwise.
template <typename P = Composed>
PolicyInfo composed(std::string name, std::string summary, std::string citation, const std::string& pieces,
    Parameters parameters, std::vector<VariantInfo> variants = {}, std::vector<PieceName> names = {})
{
    PolicyInfo info{std::move(name), std::move(summary), std::move(citation), with_protection(std::move(parameters)),
        std::move(variants), make<P>};
    info.composition = pieces.empty() ? "compose" : "compose:" + pieces;
    info.pieces = std::move(names);
    for (auto& parameter : info.parameters) {
        parameter.default_value = default_in_composition(info, parameter);
    }
    return info;
}

Parameters operator+(Parameters a, const Parameters& b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

// --- parameters: all of them are pieces, with fewer choices here and there

ParameterInfo window_reduction_parameter()
{
    return choice_parameter("reduce", "mean", {"mean", "sum", "max"}, "of the window's queries to one");
}

ParameterInfo heads_parameter()
{
    return choice_parameter(
        "heads", "uniform", {"uniform", "layer"}, "a layer's heads share alike, or by its best scores");
}

ParameterInfo unit_parameter()
{
    return choice_parameter("unit", "absolute", {"absolute", "relative"},
        "over the squared norm of what the layer writes for the query, or not");
}

Parameters emulation()
{
    return {layout_parameter(), precision_parameter()};
}

Parameters snapkv_parameters()
{
    return Parameters{window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter(), gqa_at_parameter(),
               window_reduction_parameter()}
    + emulation();
}

Parameters pyramid_parameters()
{
    return {beta_parameter(), first_prompt_parameter()};
}

Parameters ada_parameters()
{
    return snapkv_parameters() + Parameters{alpha_parameter(), normalize_parameter()};
}

Parameters h2o_parameters()
{
    auto window = window_parameter(0);
    window.help = "recent tokens that stay";
    return {window, gqa_parameter(), diagonal_parameter(), layout_parameter(), recent_parameter()};
}

Parameters vatp_parameters()
{
    return Parameters{window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter()} + emulation()
        + Parameters{
            choice_parameter("score", "window", {"window", "columns"}, "attention of the window, or of all queries"),
            query_rows_parameter(), recent_parameter(), sinks_parameter()};
}

Parameters cake_parameters()
{
    return {window_parameter(2), kernel_parameter(), pool_parameter(), gqa_parameter(), gamma_parameter(),
        tau_parameter("tau1"), tau_parameter("tau2"), cascading_parameter(), precision_parameter()};
}

Parameters lava_score_parameters()
{
    return {window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter(),
        choice_parameter("value_norm", "all", {"all", "prefix"}, "tokens whose largest ||v||_1 weighs a head")};
}

Parameters lava_head_parameters()
{
    return {alpha_parameter(), floor_parameter("floor", "alpha"), normalize_parameter()};
}

Parameters loo_parameters()
{
    return {window_parameter(), window_reduction_parameter(), kernel_parameter(), pool_parameter(), unit_parameter(),
        heads_parameter(), alpha_parameter(), normalize_parameter()};
}

Parameters dropkv_parameters()
{
    return {window_parameter(), window_reduction_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter(),
        choice_parameter("project", "none", {"none", "wo"}, "the error of a head's output, or that times its W_O"),
        unit_parameter(), heads_parameter(), alpha_parameter(), normalize_parameter()};
}

// The heads' floor, which compose calls otherwise.
const std::vector<PieceName> shares{{"alpha", "floor"}, {"floor", "floor_of"}};

// --- variants

const char* const lava_paper = "Shen et al. 2025, Findings of EMNLP, pp. 13672-13692";

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
const Defaults by_query_head{{"layout", "query_head"}};

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

VariantInfo kvcache_factory(Defaults more, std::string summary = "")
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

const Defaults kvpress_snapkv{{"window", "64"}, {"kernel", "5"}, {"pool", "avg"}, {"gqa_at", "post_pool"}};

std::vector<VariantInfo> h2o_variants()
{
    return {kvcache_factory({}),
        variant("official", "half of the budget for the most recent, as the released code's prefill leaves it",
            {{"recent", "half"}, {"layout", "query_head"}}),
        variant("paper", "as LAVa's Eq. 18 cites it: without the diagonal", {{"diagonal", "off"}}),
        kvpress<KvpressObserved<Composed>>({{"window", "0"}})};
}

std::vector<VariantInfo> snapkv_variants()
{
    return {variant("adakv", "AdaKV's repository: a cache for every query head", by_query_head), adakv_class(),
        kvcache_factory({{"reduce", "sum"}}), kvpress<Kvpress<Composed>>(kvpress_snapkv)};
}

std::vector<VariantInfo> pyramidkv_variants()
{
    return {variant("adakv", "AdaKV's repository: a cache for every query head", by_query_head), adakv_class(),
        kvcache_factory({{"reduce", "sum"}, {"schedule", "kvcache-factory"}}, ", uniform for short prompts"),
        variant("paper", "the schedule in real numbers (LAVa's Eq. 21)", {{"schedule", "paper"}}),
        kvpress<KvpressPyramid<Composed>>(kvpress_snapkv)};
}

std::vector<VariantInfo> vatp_variants()
{
    return {variant("paper", "LAVa's Table 4: as without a variant"),
        variant("official", "the released code's H2O form: column sums, 20 sinks, half of the budget recent",
            {{"score", "columns"}, {"pool", "none"}, {"recent", "half"}, {"sinks", "20"}, {"layout", "query_head"}}),
        variant("official-scissorhands", "its Scissorhands form: mean of the last 400 queries, 10 recent, 2 int(B / 2)",
            {{"rows", "400"}, {"window", "10"}, {"pool", "none"}, {"recent", "even"}, {"layout", "query_head"}})};
}

std::vector<VariantInfo> ada_variants()
{
    auto variants = adakv_variants();
    variants.push_back(kvcache_factory({{"normalize", "on"}}, ", heads weighed"));
    variants.push_back(kvpress<KvpressAdaptive<Composed>>(kvpress_snapkv));
    return variants;
}

// --- rows, by where their scores come from

std::vector<PolicyInfo> attention_policies()
{
    return {
        // Heavy hitters and the most recent entries, as a prefill policy.
        composed("h2o", "most attended to by all queries, and the most recent", "Zhang et al. 2023, arXiv:2306.14048",
            "score=columns,pool=none", h2o_parameters(), h2o_variants()),
        // A prefill policy: the last token stays.
        composed("tova", "what the last token attends to", "Oren et al. 2024, arXiv:2401.06104",
            "window=1,pool=none,gqa=layer",
            {choice_parameter("heads", "layer", {"layer", "group"}, "average over the layer's heads, or each group's"),
                precision_parameter()},
            {variant("paper", "as LAVa's Eq. 19 cites it: each group by itself", {{"heads", "group"}}),
                kvpress<Kvpress<Composed>>()},
            {{"heads", "gqa", {{"layer", "layer"}, {"group", "mean"}}}}),
        composed("snapkv", "what the window attends to, pooled", "Li et al. 2024, arXiv:2404.14469", "",
            snapkv_parameters(), snapkv_variants()),
        // The integer schedule is AdaKV's and LAVa's code, for this trace's length; its floored step grants more than
        // is asked.
        composed("pyramidkv", "snapkv, more in lower layers", "Cai et al. 2024, arXiv:2406.02069", "layers=pyramid",
            snapkv_parameters() + pyramid_parameters() + Parameters{schedule_parameter()}, pyramidkv_variants()),
        // The form of the LAVa paper's Table 4.
        composed("vatp", "window attention x value norm", "Guo et al. 2024, arXiv:2406.12335",
            "value_norm=token,gqa_at=post_pool", vatp_parameters(), vatp_variants(),
            {{"score", "score", {{"window", "attention"}, {"columns", "columns"}}}}),
        composed("ada-snapkv", "snapkv, heads of a layer share its budget", "Feng et al. 2024, arXiv:2407.11550",
            "heads=layer,floor=0.2", ada_parameters(), ada_variants(), shares),
        composed("ada-pyramidkv", "ada-snapkv, more in lower layers", "Feng et al. 2024, arXiv:2407.11550",
            "layers=pyramid,heads=layer,floor=0.2", ada_parameters() + pyramid_parameters(), adakv_variants(), shares),
        // The prefill part of cakekv.
        composed("cake", "mean and variance of window attention; layers by entropy x variance",
            "Qin et al. 2025, arXiv:2503.12491", "reduce=variance,pool=avg,kernel=5,gqa_at=post_pool,layers=preference",
            cake_parameters(), cake_variants()),
    };
}

// LAVa (Shen et al., Findings of EMNLP 2025) as the paper has it: Eq. 5, the group's query heads reduced by max.
// @official is the released code, whose floor is alpha of the whole nominal budget, window included, in every layer,
// and whose norm leaves the window out. Where a layer is granted more than exists that code crashes; here it keeps all.
std::vector<PolicyInfo> lava_policies()
{
    const std::string score = "value_norm=all,gqa_at=post_pool,gqa=max";
    const auto parameters = lava_score_parameters() + lava_head_parameters() + emulation();
    return {
        composed("lava", "window attention x largest value norm; dynamic layers and heads", lava_paper,
            score + ",layers=entropy,heads=layer", parameters, lava_variants(), shares),
        composed("lava-uniform", "lava with equal layers", lava_paper, score + ",heads=layer", parameters,
            official_lava(true), shares),
        composed("lava-pyramid", "lava with a pyramid of layers", lava_paper, score + ",layers=pyramid,heads=layer",
            lava_score_parameters() + lava_head_parameters() + pyramid_parameters() + emulation(), official_lava(true),
            shares),
        composed("lava-nohead", "lava with equal heads", lava_paper, score + ",layers=entropy",
            lava_score_parameters() + emulation(), official_lava(false)),
    };
}

// One step of backward elimination of the loss of a layer's attention output, or of a head's.
std::vector<PolicyInfo> leave_one_out_policies()
{
    return {
        composed("loo", "what evicting the entry alone changes in the residual stream", "exact, per layer",
            "score=loo,reduce=max,heads=layer", loo_parameters(), {}, shares),
        composed("dropkv", "what evicting the entry alone changes in a head's output",
            "DropKV 2026, openreview MqfNzH3TVH", "score=dropkv,reduce=sum,pool=none,gqa_at=post_pool",
            dropkv_parameters(), {},
            {{"alpha", "floor"}, {"project", "score", {{"none", "dropkv"}, {"wo", "dropkv-wo"}}}}),
    };
}

std::vector<PolicyInfo> policies_by_name()
{
    return {
        composed<HeadKv>("headkv", "snapkv, fixed shares by a file of head importances",
            "Fu et al. 2024, arXiv:2410.19258", "",
            snapkv_parameters()
                + Parameters{file_parameter("file", "JSON of head importances, {\"LAYER-HEAD\": [numbers]}")},
            {kvcache_factory({})}),
        row<Composed>("compose", "any score, pooling, layer rule and head rule", "a composition"),
        composed("knorm", "keys of small norm", "Devoto et al. 2024, arXiv:2406.11430",
            "score=knorm,window=0,pool=none", {},
            {kvpress<Kvpress<Composed>>(),
                {"kvcache-factory", "KVCache-Factory: layers 0 and 1 keep all; a cache for every query head", {}, false,
                    make<KnormBehindTwoLayers>}}),
        composed<KeyDiff>("keydiff", "keys unlike the mean key", "Park et al. 2025, arXiv:2504.15364",
            "score=keydiff,window=0,pool=none",
            {integer_parameter("block", 0, 0, INT64_MAX / 4, "tokens that compete at a time; 0: all at once")},
            {kvpress<KeyDiff>()}),
    };
}

} // namespace

std::vector<PolicyInfo> composed_policies()
{
    auto rows = attention_policies();
    for (auto& part : {lava_policies(), leave_one_out_policies()}) {
        rows.insert(rows.end(), part.begin(), part.end());
    }
    for (auto& info : policies_by_name()) {
        rows.push_back(by_name_only(std::move(info)));
    }
    return rows;
}

} // namespace lava
