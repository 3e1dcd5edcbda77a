#include "replay/policies/presets.h"

#include <limits>

namespace lava {

namespace {

using Heads = HeadRule::Kind;
using Layers = LayerRule::Kind;

Composition of(const ScoreRule& score, Layers layers = Layers::uniform, Heads heads = Heads::uniform)
{
    Composition composition;
    composition.score = score;
    composition.layers.kind = layers;
    composition.heads.kind = heads;
    return composition;
}

ScoreRule snap_score()
{
    return {};
}

ScoreRule lava_score()
{
    ScoreRule rule;
    rule.value = ValueWeight::all;
    rule.gqa = GroupReduction::max;
    rule.gqa_at = GroupAt::post_pool;
    return rule;
}

std::vector<ParameterInfo> operator+(std::vector<ParameterInfo> a, const std::vector<ParameterInfo>& b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

// Of everything scored from the window's attention.
std::vector<ParameterInfo> emulation()
{
    return {layout_parameter(), precision_parameter()};
}

std::vector<ParameterInfo> lava_score_parameters()
{
    return {window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("max"),
        choice_parameter("value_norm", "all", {"all", "prefix"}, "tokens whose largest ||v||_1 weighs a head")};
}

std::vector<ParameterInfo> lava_head_parameters()
{
    return {alpha_parameter("0"),
        choice_parameter("floor", "layer", {"layer", "nominal"},
            "what alpha is a share of: the layer's own number, or the nominal budget (released code)"),
        normalize_parameter()};
}

std::vector<ParameterInfo> pyramid_parameters()
{
    return {beta_parameter(), first_prompt_parameter()};
}

ParameterInfo window_reduction_parameter(std::string default_value)
{
    return choice_parameter(
        "reduce", std::move(default_value), {"mean", "sum", "max"}, "of the window's queries to one");
}

ParameterInfo heads_parameter(std::string default_value)
{
    return choice_parameter(
        "heads", std::move(default_value), {"uniform", "layer"}, "a layer's heads share alike, or by its best scores");
}

ParameterInfo recent_parameter()
{
    return choice_parameter("recent", "window", {"window", "half", "even"},
        "most recent tokens that stay: the window, half of the budget, or the window of 2 int(B / 2)");
}

ParameterInfo unit_parameter()
{
    return choice_parameter("unit", "absolute", {"absolute", "relative"},
        "over the squared norm of what the layer writes for the query, or not");
}

} // namespace

namespace preset {

Composition snapkv()
{
    return of(snap_score());
}

Composition pyramidkv()
{
    return of(snap_score(), Layers::pyramid);
}

Composition ada_snapkv()
{
    return of(snap_score(), Layers::uniform, Heads::layer_wide);
}

Composition ada_pyramidkv()
{
    return of(snap_score(), Layers::pyramid, Heads::layer_wide);
}

Composition h2o()
{
    auto rule = snap_score();
    rule.source = Source::column_sums;
    rule.pool = Pool::none;
    return of(rule);
}

Composition cake()
{
    auto rule = snap_score();
    rule.reduce = WindowReduction::variance;
    rule.gqa_at = GroupAt::post_pool;
    return of(rule, Layers::preference);
}

Composition lava()
{
    return of(lava_score(), Layers::entropy, Heads::layer_wide);
}

Composition lava_uniform()
{
    return of(lava_score(), Layers::uniform, Heads::layer_wide);
}

Composition lava_pyramid()
{
    return of(lava_score(), Layers::pyramid, Heads::layer_wide);
}

Composition lava_nohead()
{
    return of(lava_score(), Layers::entropy);
}

Composition loo()
{
    auto rule = snap_score();
    rule.source = Source::loo;
    return of(rule);
}

std::vector<ParameterInfo> snapkv_parameters()
{
    return std::vector{window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("mean"),
               gqa_at_parameter(), window_reduction_parameter("mean")}
    + emulation();
}

std::vector<ParameterInfo> pyramidkv_parameters()
{
    return snapkv_parameters() + pyramid_parameters() + std::vector{schedule_parameter()};
}

std::vector<ParameterInfo> ada_snapkv_parameters()
{
    return snapkv_parameters() + std::vector{alpha_parameter("0.2"), normalize_parameter()};
}

std::vector<ParameterInfo> ada_pyramidkv_parameters()
{
    return ada_snapkv_parameters() + pyramid_parameters();
}

std::vector<ParameterInfo> h2o_parameters()
{
    auto window = window_parameter(0);
    window.help = "recent tokens that stay";
    return {window, gqa_parameter("mean"),
        choice_parameter("diagonal", "on", {"on", "off"}, "count each token's attention to itself"), layout_parameter(),
        recent_parameter()};
}

std::vector<ParameterInfo> cake_parameters()
{
    auto pool = pool_parameter();
    pool.default_value = "avg";
    return std::vector{window_parameter(2), kernel_parameter(5), pool, gqa_parameter("mean"), gamma_parameter(),
               tau_parameter("tau1"), tau_parameter("tau2"), cascading_parameter()}
    + std::vector{precision_parameter()};
}

std::vector<ParameterInfo> lava_parameters()
{
    return lava_score_parameters() + lava_head_parameters() + emulation();
}

std::vector<ParameterInfo> lava_pyramid_parameters()
{
    return lava_score_parameters() + lava_head_parameters() + pyramid_parameters() + emulation();
}

std::vector<ParameterInfo> lava_nohead_parameters()
{
    return lava_score_parameters() + emulation();
}

std::vector<ParameterInfo> loo_parameters()
{
    return {window_parameter(), window_reduction_parameter("max"), kernel_parameter(), pool_parameter(),
        unit_parameter(), heads_parameter("layer"), alpha_parameter("0"), normalize_parameter()};
}

} // namespace preset

Vatp::Vatp(const PolicyParams& params)
    : Composed([&] {
        Composition composition;
        composition.score.value = ValueWeight::token;
        composition.score.gqa_at = GroupAt::post_pool;
        if (params.text("score") == "columns") {
            composition.score.source = Source::column_sums;
        }
        read_parameters(composition, params);
        if (params.integer("rows") > 0) {
            composition.score.query_rows = params.integer("rows");
        }
        return composition;
    }())
{ }

std::vector<ParameterInfo> Vatp::parameters()
{
    std::vector parameters{window_parameter(), kernel_parameter(), pool_parameter(), gqa_parameter("mean")};
    return parameters + emulation()
        + std::vector{
            choice_parameter("score", "window", {"window", "columns"}, "attention of the window, or of all queries"),
            integer_parameter("rows", 0, 0, 1 << 20, "last queries that are asked; 0: the window's"),
            recent_parameter(), integer_parameter("sinks", 0, 0, 1 << 30, "first tokens that rank above all others")};
}

Tova::Tova(const PolicyParams& params)
    : Composed([&] {
        ScoreRule rule;
        rule.window = rule.query_rows = 1;
        rule.pool = Pool::none;
        rule.over_layer = params.text("heads") == "layer";
        rule.precision = parse_precision(params.text("precision"));
        return of(rule);
    }())
{ }

std::vector<ParameterInfo> Tova::parameters()
{
    return {choice_parameter("heads", "layer", {"layer", "group"}, "average over the layer's heads, or each group's"),
        precision_parameter()};
}

DropKv::DropKv(const PolicyParams& params)
    : Composed([&] {
        Composition composition;
        composition.score.source = params.text("project") == "wo" ? Source::dropkv_wo : Source::dropkv;
        composition.score.gqa_at = GroupAt::post_pool;
        read_parameters(composition, params);
        return composition;
    }())
{ }

std::vector<ParameterInfo> DropKv::parameters()
{
    auto pool = pool_parameter();
    pool.default_value = "none";
    return {window_parameter(), window_reduction_parameter("sum"), kernel_parameter(), pool, gqa_parameter("mean"),
        choice_parameter("project", "none", {"none", "wo"}, "the error of a head's output, or that times its W_O"),
        unit_parameter(), heads_parameter("uniform"), alpha_parameter("0"), normalize_parameter()};
}

} // namespace lava
