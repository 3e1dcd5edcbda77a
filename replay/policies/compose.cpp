#include "replay/policies/compose.h"

#include "base/error.h"
#include "base/formatted.h"
#include "replay/policies/layer_table.h"

#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace lava {

namespace {

template <typename Piece> using Words = std::initializer_list<std::pair<std::string_view, Piece>>;

// The piece that the parameter's word stands for.
template <typename Piece> Piece chosen(const PolicyParams& params, const char* name, Words<Piece> words)
{
    const auto& text = params.text(name);
    const auto* const found = std::ranges::find(words, text, &std::pair<std::string_view, Piece>::first);
    if (found == words.end()) {
        throw std::logic_error("compose: no piece " + std::string(name) + "=" + text);
    }
    return found->second;
}

// Of the window's queries, those that are asked.
std::int64_t query_rows(const PolicyParams& params)
{
    const auto& score = params.text("score");
    const auto rows = params.integer("rows");
    if (rows > 0 && (score == "last" || score == "loo" || score == "dropkv" || score == "dropkv-wo")) {
        throw UsageError("rows: expected 0 where score=" + score + ", found " + std::to_string(rows));
    }
    return score == "last" ? 1 : rows > 0 ? rows : params.integer("window");
}

ScoreRule read_score(const PolicyParams& params)
{
    ScoreRule rule;
    rule.source = chosen<Source>(params, "score",
        {{"attention", Source::attention}, {"last", Source::attention}, {"columns", Source::column_sums},
            {"loo", Source::loo}, {"dropkv", Source::dropkv}, {"dropkv-wo", Source::dropkv_wo},
            {"knorm", Source::key_norm}, {"keydiff", Source::key_difference}});
    rule.window = params.integer("window");
    rule.query_rows = query_rows(params);
    rule.reduce = chosen<WindowReduction>(params, "reduce",
        {{"mean", WindowReduction::mean}, {"sum", WindowReduction::sum}, {"max", WindowReduction::max},
            {"variance", WindowReduction::variance}});
    rule.gamma = params.real("gamma");
    rule.diagonal = params.is_on("diagonal");
    rule.relative = params.text("unit") == "relative";
    rule.value = chosen<ValueWeight>(params, "value_norm",
        {{"none", ValueWeight::none}, {"token", ValueWeight::token}, {"all", ValueWeight::all},
            {"prefix", ValueWeight::prefix}, {"projected", ValueWeight::projected}});
    rule.pool = chosen<Pool>(params, "pool", {{"max", Pool::max}, {"avg", Pool::avg}, {"none", Pool::none}});
    rule.kernel = params.integer("kernel");
    rule.gqa = chosen<GroupReduction>(params, "gqa",
        {{"mean", GroupReduction::mean}, {"max", GroupReduction::max}, {"sum", GroupReduction::sum},
            {"layer", GroupReduction::mean}});
    rule.over_layer = params.text("gqa") == "layer";
    rule.gqa_at
        = chosen<GroupAt>(params, "gqa_at", {{"pre_pool", GroupAt::pre_pool}, {"post_pool", GroupAt::post_pool}});
    rule.sinks = params.integer("sinks");
    rule.precision = chosen<Precision>(params, "precision",
        {{"fp32", Precision::fp32}, {"emulate_bf16", Precision::bf16}, {"emulate_fp16", Precision::fp16}});
    return rule;
}

LayerRule read_layers(const PolicyParams& params)
{
    using Kind = LayerRule::Kind;
    using Schedule = LayerRule::Schedule;
    LayerRule rule;
    rule.kind = chosen<Kind>(params, "layers",
        {{"uniform", Kind::uniform}, {"pyramid", Kind::pyramid}, {"entropy", Kind::entropy},
            {"preference", Kind::preference}, {"model", Kind::model_wide}, {"table", Kind::table}});
    rule.schedule = chosen<Schedule>(params, "schedule",
        {{"integer", Schedule::integer}, {"kvcache-factory", Schedule::kvcache_factory}, {"paper", Schedule::paper}});
    rule.beta = params.integer("beta");
    rule.first_prompt = params.integer("pyramid_ref_N");
    rule.tau1 = params.real("tau1");
    rule.tau2 = params.real("tau2");
    rule.cascading = params.is_on("cascading");
    rule.table = params.text("table") == "none" ? "" : params.text("table");
    return rule;
}

HeadRule read_heads(const PolicyParams& params)
{
    HeadRule rule;
    rule.kind = chosen<HeadRule::Kind>(params, "heads",
        {{"uniform", HeadRule::Kind::uniform}, {"layer", HeadRule::Kind::layer_wide},
            {"shared", HeadRule::Kind::shared}});
    rule.shared = parse_shared_heads(params.text("shared"));
    rule.alpha = params.real("floor");
    rule.nominal_floor = params.text("floor_of") == "nominal";
    rule.normalize = params.is_on("normalize");
    return rule;
}

Composition read_composition(const PolicyParams& params)
{
    Composition composition{read_score(params), read_layers(params), read_heads(params)};
    composition.per_query_head = params.text("layout") == "query_head";
    composition.recent = chosen<Recent>(
        params, "recent", {{"window", Recent::window}, {"half", Recent::half}, {"even", Recent::even}});
    if (composition.recent == Recent::half) {
        composition.score.window = 0; // the recent ones are scored too
    }
    return composition;
}

// Pieces of which one decides what another would, or that is made of what another has not.
void check_division(const Composition& composition)
{
    const auto& [score, layers, heads, per_query_head, recent] = composition;
    if (recent != Recent::window
        && (layers.kind != LayerRule::Kind::uniform || heads.kind != HeadRule::Kind::uniform)) {
        throw UsageError("recent: expected window where layers or heads share by another rule than uniform");
    }
    if (heads.kind == HeadRule::Kind::shared && heads.shared == SharedHeads::together
        && layers.kind == LayerRule::Kind::model_wide) {
        throw UsageError("shared: expected mean or max where layers=model compares scores, found union, of places");
    }
    if (score.sinks > 0 && (layers.kind == LayerRule::Kind::entropy || heads.normalize)) {
        throw UsageError("sinks: expected 0 where layers=entropy or normalize=on add scores up, found "
            + std::to_string(score.sinks));
    }
    if ((layers.kind == LayerRule::Kind::table) == layers.table.empty()) {
        throw UsageError("table: expected a file where layers=table, and only there");
    }
    if (layers.kind == LayerRule::Kind::preference && score.window < 2) {
        throw UsageError("window: expected at least 2 where layers=preference, which is a variance over its queries");
    }
}

void check(const Composition& composition)
{
    const auto& [score, layers, heads, per_query_head, recent] = composition;
    const bool is_negative = score.source == Source::key_norm || score.source == Source::key_difference;
    if (is_negative
        && (score.value != ValueWeight::none || layers.kind == LayerRule::Kind::entropy || heads.normalize)) {
        throw UsageError(
            "score: expected one of attention where value_norm, layers=entropy or normalize ask for shares, "
            "found one of keys, which is negative");
    }
    if (score.precision != Precision::fp32 && score.value == ValueWeight::projected) {
        throw UsageError("precision: expected fp32 where value_norm=projected, which no released code rounds alike");
    }
    if (score.precision != Precision::fp32 && score.source != Source::attention) {
        throw UsageError("precision: expected fp32, as only scores from the window's attention are emulated");
    }
    if (reads_window(score.source) && score.query_rows < 1) {
        throw UsageError("window: expected at least 1, as its queries are asked, found 0");
    }
    if (score.reduce == WindowReduction::variance && (score.source != Source::attention || score.query_rows < 2)) {
        throw UsageError("reduce: expected mean, sum or max, as the variance is that of several queries' attention");
    }
}

// The mean of each layer's heads among the model's best entries, rounded down.
std::vector<std::int64_t> model_wide_layers(std::span<const RankedLayer> layers, const BudgetRequest& request)
{
    const auto heads = request.shape.num_kv_heads;
    const auto counts = model_wide_counts(layers, heads, request.spare() * request.heads());
    std::vector<std::int64_t> numbers;
    for (auto head = counts.begin(); head != counts.end(); head += heads) {
        numbers.push_back(std::accumulate(head, head + heads, std::int64_t{0}) / heads);
    }
    return numbers;
}

} // namespace

Composed::Composed(const PolicyParams& params)
    : composition_(read_composition(params))
{
    check(composition_);
    check_division(composition_);
    if (composition_.layers.kind == LayerRule::Kind::table) {
        table_ = read_layer_table(composition_.layers.table);
    }
}

std::int64_t Composed::query_rows() const
{
    const auto& score = composition_.score;
    const auto rows = reads_window(score.source) ? score.query_rows : 0;
    return composition_.layers.kind == LayerRule::Kind::preference ? std::max(rows, score.window) : rows;
}

PolicyNeeds Composed::needs() const
{
    const auto source = composition_.score.source;
    return {.observed_attention = source == Source::column_sums,
        .output_projection = source == Source::loo || source == Source::dropkv_wo || composition_.score.relative
            || composition_.score.value == ValueWeight::projected};
}

bool Composed::compares_heads() const
{
    return composition_.heads.kind == HeadRule::Kind::layer_wide
        || composition_.layers.kind == LayerRule::Kind::model_wide;
}

LayerScores Composed::score(const LayerInputs& layer) const
{
    const auto& layers = composition_.layers;
    if (!table_.empty() && static_cast<std::int64_t>(table_.size()) != layer.shape().num_layers) {
        throw Error(formatted("{}: expected budgets of {} layers (the trace's), found {}", layers.table,
            layer.shape().num_layers, table_.size()));
    }
    const auto entries = entry_scores(layer, composition_.score);
    const auto& heads = composition_.heads;
    return {
        heads.kind == HeadRule::Kind::shared ? shared_scores(entries, heads.shared) : entries, weight(layer, entries)};
}

// The layer's claim on the budget.
double Composed::weight(const LayerInputs& layer, const at::Tensor& entries) const
{
    const auto& rule = composition_.score;
    const auto& layers = composition_.layers;
    switch (layers.kind) {
    case LayerRule::Kind::entropy:
        return rule.precision == Precision::fp32 ? score_entropy(entries)
                                                 : rounded_score_entropy(layer, entries, rule.precision);
    case LayerRule::Kind::preference:
        return layer_preference(layer, rule.window, layers.tau1, layers.tau2, rule.precision);
    default:
        return 1;
    }
}

LayerScores Composed::at_budget(const LayerScores& scores, const BudgetRequest& request) const
{
    if (!ranks_by_budget()) {
        return scores; // a wrapper asks whatever its base is
    }
    const auto recent = request.share(request.seq_len) / 2;
    // Behind a window that the scores leave out there may be fewer entries than the recent half, or none.
    const auto entries = scores.entries.size(1), first = std::min(request.seq_len - recent, entries);
    return {ranked_first(scores.entries, first, entries - first), scores.weight};
}

std::vector<std::int64_t> Composed::layer_numbers(
    std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    const auto& rule = composition_.layers;
    switch (rule.kind) {
    case LayerRule::Kind::pyramid:
        return rule.schedule == LayerRule::Schedule::paper ? paper_pyramid(request, rule.beta)
            : rule.schedule == LayerRule::Schedule::kvcache_factory
            ? kvcache_factory_pyramid(request, rule.beta)
            : pyramid_layers(request, rule.beta, rule.first_prompt);
    case LayerRule::Kind::entropy:
        // A layer's share never grows as layers arrive, so the released code's cascade ends in this one division.
        return weighted_layers(layers, request);
    case LayerRule::Kind::model_wide:
        return model_wide_layers(layers, request);
    case LayerRule::Kind::table:
        return table_layers(table_, request);
    default:
        return uniform_layers(request.shape.num_layers, request.spare());
    }
}

Allocation Composed::divide(
    std::span<const std::int64_t> numbers, std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    const auto& rule = composition_.heads;
    if (rule.kind != HeadRule::Kind::layer_wide) {
        return uniform_heads(numbers, request);
    }
    const auto floor = [&](std::int64_t number) {
        const auto base = rule.nominal_floor ? request.budget : number;
        return static_cast<std::int64_t>(rule.alpha * static_cast<double>(base));
    };
    return adaptive_heads(layers, numbers, request, {rule.alpha, rule.normalize, floor, composition_.score.precision});
}

Allocation Composed::cake(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    std::vector<double> preferences;
    for (const auto& layer : layers) {
        preferences.push_back(layer.weight);
    }
    const auto numbers = cake_layers(preferences, request, composition_.layers.cascading);
    if (composition_.heads.kind == HeadRule::Kind::layer_wide) {
        return divide(numbers.kept, layers, request);
    }
    auto allocation = uniform_heads(numbers.granted, request);
    allocation.retained = uniform_heads(numbers.kept, request).retained;
    return allocation;
}

Allocation Composed::allocate(std::span<const RankedLayer> layers, const BudgetRequest& request) const
{
    const auto& rule = composition_.layers;
    const auto& heads = composition_.heads;
    if (composition_.recent != Recent::window) {
        const auto even = 2 * (request.share(request.seq_len) / 2);
        return uniform_heads(uniform_layers(request.shape.num_layers, even - composition_.score.window), request);
    }
    if (rule.kind == LayerRule::Kind::preference) {
        return cake(layers, request);
    }
    const bool one_ranking = rule.kind == LayerRule::Kind::model_wide && heads.kind == HeadRule::Kind::layer_wide
        && heads.alpha == 0 && !heads.normalize;
    if (one_ranking) { // exact: no layer's total is divided by its heads
        return model_wide(layers, request, request.spare() * request.heads());
    }
    return divide(layer_numbers(layers, request), layers, request);
}

std::vector<ParameterInfo> Composed::parameters()
{
    auto alpha = alpha_parameter("0");
    alpha.name = "floor";
    auto table = file_parameter("table", "CSV with the columns layer,budget: budgets whose proportions layers get");
    table.default_value = "none";
    return {
        choice_parameter("score", "attention",
            {"attention", "columns", "last", "loo", "dropkv", "dropkv-wo", "knorm", "keydiff"},
            "of the window's queries, all queries' column sums, the last query; what evicting the entry alone "
            "changes in the residual stream, the head's output, that times W_O; keys of small norm, unlike the mean"),
        window_parameter(0), query_rows_parameter(),
        choice_parameter("reduce", "mean", {"mean", "sum", "max", "variance"},
            "of the window's queries to one; variance: mean + gamma * variance"),
        gamma_parameter(), diagonal_parameter(),
        choice_parameter("value_norm", "none", {"none", "token", "all", "prefix", "projected"},
            "times the entry's ||v||_1, or the KV head's largest: of all tokens, or outside the window; or the group's "
            "mean of ||v W_O||_1"),
        pool_parameter(), kernel_parameter(),
        choice_parameter("gqa", "mean", {"mean", "max", "sum", "layer"},
            "reduction of a group's query heads to its KV head; layer: the mean of all heads of the layer"),
        gqa_at_parameter(),
        choice_parameter("unit", "absolute", {"absolute", "relative"},
            "loo, dropkv: over the squared norm of what the layer writes, or not"),
        choice_parameter("layers", "uniform", {"uniform", "pyramid", "entropy", "preference", "model", "table"},
            "how layers share: alike, PyramidKV, LAVa, CAKE, by the model's best scores, a file"),
        beta_parameter(), schedule_parameter(), first_prompt_parameter(), tau_parameter("tau1"), tau_parameter("tau2"),
        cascading_parameter(),
        choice_parameter("heads", "uniform", {"uniform", "layer", "shared"},
            "how a layer's heads share: alike, by its best scores, or one set for all"),
        shared_parameter(), alpha, floor_parameter("floor_of", "floor"), normalize_parameter(), sinks_parameter(),
        recent_parameter(), layout_parameter(), precision_parameter(), table};
}

} // namespace lava
