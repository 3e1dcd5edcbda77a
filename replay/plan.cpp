#include "replay/plan.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"
#include "compute/parallel.h"
#include "replay/layer_stream.h"
#include "replay/policies/contract.h"
#include "replay/policies/protection.h"
#include "replay/retention.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace lava {

namespace {

std::string plural(std::int64_t count, const std::string& noun)
{
    return formatted("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// What the policy reads and the trace does not have; empty where it has all.
std::string missing_part(const PolicyNeeds& needs, const TraceInfo& info)
{
    struct Part
    {
        bool needed;
        bool there;
        const char* what;
    };
    const Part parts[] = {
        {needs.observed_attention, info.has_observed_attention,
            "the column sums of the prompt's attention (/layers/*/observed_attention)"},
        {needs.output_projection, info.has_losses, "the output projection (/layers/*/w_o)"},
        {needs.query_statistics, info.has_query_statistics,
            "the mean and covariance of the queries (/layers/*/q_pre_rope_mean, q_pre_rope_cov)"},
        {needs.rope, !info.rope_inv_freq.empty(), "the rotary embedding (/model/rope_inv_freq)"},
        {needs.repeat_maxima, info.has_repeat_maxima, "the repeat pass (/layers/*/repeat_maxima)"},
        {needs.repeat_maxima_plus, info.has_repeat_maxima_plus, "the repeat pass (/layers/*/repeat_maxima_plus)"},
        {needs.all_queries, info.window == info.seq_len, "the queries of all tokens (a window of the whole prompt)"},
    };
    for (const auto& part : parts) {
        if (part.needed && !part.there) {
            return part.what;
        }
    }
    return {};
}

// Why the trace cannot serve the policy; empty where it can.
std::string obstacle(const Policy& policy, const std::string& name, const TraceInfo& info)
{
    if (const auto missing = missing_part(policy.needs(), info); !missing.empty()) {
        return name + " needs " + missing + ", which the trace does not have";
    }
    if (policy.query_rows() > info.window && info.window < info.seq_len) {
        return formatted(
            "{} reads the last {}, the trace records {}", name, plural(policy.query_rows(), "query row"), info.window);
    }
    return {};
}

void check_length(const Policy& policy, const std::string& name, const TraceInfo& info)
{
    if (policy.window() < 0 || policy.query_rows() < 0) {
        throw Error(formatted("{}: expected a window and query rows of at least 0, found {}", name,
            std::min(policy.window(), policy.query_rows())));
    }
    if (policy.window() >= info.seq_len) {
        throw Error(formatted(
            "{}: the prompt's {} are no more than the window of {} that {} keeps, so there is nothing to evict",
            info.file, plural(info.seq_len, "token"), policy.window(), name));
    }
}

std::int64_t cache_heads(const Run& run, const ModelShape& shape)
{
    return run.policy->per_query_head() ? shape.num_heads : shape.num_kv_heads;
}

BudgetRequest request_for(const Run& run, const Budget& budget, const TraceInfo& info)
{
    BudgetRequest request{info.shape, info.seq_len, run.policy->window(), budget.entries, budget.ratio};
    request.shape.num_kv_heads = cache_heads(run, info.shape);
    return request;
}

// One layer's scores, sorted: for all budgets, or for each.
void rank_layer_of(Run& run, const LayerInputs& inputs, const TraceInfo& info, const Device& device)
{
    const auto& name = run.spec.canonical;
    const auto scores = run.policy->score(inputs.seen_by(name, run.policy->query_rows()));
    for (std::size_t i = 0; i < run.rankings.size(); ++i) {
        const bool anew = run.policy->ranks_by_budget();
        const auto request = request_for(run, anew ? run.budgets[i] : Budget(), info);
        const auto ranked_by = anew ? run.policy->at_budget(scores, request) : scores;
        check_scores(*run.policy, name, inputs.layer(), ranked_by, request);
        auto ranked = rank_layer(ranked_by, info.seq_len, run.policy->window(), run.protected_entries, device);
        if (!run.policy->compares_heads()) {
            ranked.sorted = LargeVector<float>(); // `= {}` would keep the memory
        }
        const auto layers = run.rankings[i].size(), layer = static_cast<std::size_t>(inputs.layer());
        const auto size = ranked.ranking.size(), first = (i * layers + layer) * size;
        std::ranges::copy(ranked.ranking, run.ranking.begin() + static_cast<std::ptrdiff_t>(first));
        leave_memory(run.ranking, first, size);
        ranked.ranking = std::vector<std::uint32_t>();
        leave_memory(ranked.sorted);
        run.rankings[i][layer] = std::move(ranked);
    }
}

void describe(PolicyReplay& replay, const Run& run, const ModelShape& shape)
{
    replay.policy = run.spec.canonical;
    replay.name = run.spec.info->name;
    replay.variant = run.spec.variant;
    replay.window = run.policy->window();
    replay.cache_heads = cache_heads(run, shape);
    for (const auto& parameter : run.spec.info->parameters) {
        replay.parameters.emplace_back(parameter.name, run.spec.params.text(parameter.name));
    }
}

const std::vector<RankedLayer>& layers_at(const Run& run, std::size_t budget)
{
    return run.rankings[run.rankings.size() == 1 ? 0 : budget];
}

// The rankings [L, heads, seq_len] that the g-th budget's sets are prefixes of.
std::span<const std::uint32_t> rankings_at(const Run& run, std::size_t g)
{
    const auto size = run.ranking.size() / run.rankings.size();
    return std::span(run.ranking).subspan(run.rankings.size() == 1 ? 0 : g * size, size);
}

// What the g-th budget's sets of `counts` [L, heads] become under the policy's constraint: rankings of their own, and
// new counts.
LargeVector<std::uint32_t> constrained(
    const Run& run, std::size_t g, std::span<std::int64_t> counts, const BudgetRequest& request)
{
    const auto rankings = rankings_at(run, g);
    LargeVector<std::uint32_t> own(rankings.begin(), rankings.end());
    run.policy->constrain(own, counts, request);
    return own;
}

// Divides the g-th budget: `nominal` is what the rule is told, budgets and asked are what is wanted.
void add_budget(PolicyReplay& replay, const Run& run, std::size_t g, const Budget& nominal, const Budget& wanted,
    const TraceInfo& info)
{
    const auto request = request_for(run, nominal, info);
    const auto allocation = run.policy->allocate(layers_at(run, g), request);
    check_allocation(run.spec.canonical, allocation, request);
    const auto reserved = request.window * request.heads();
    replay.nominal.push_back(nominal.entries);
    replay.budgets.push_back(wanted.entries);
    replay.asked.push_back(wanted.entries * request.heads());
    replay.granted.push_back(sum_of(allocation.granted) + reserved);
    for (const auto retained : allocation.retained) {
        replay.counts.push_back(request.window + retained);
    }
    if (run.policy->constrains()) {
        const auto heads = allocation.retained.size();
        const auto own = constrained(run, g, std::span(replay.counts).last(heads), request);
        replay.ranking.insert(replay.ranking.end(), own.begin(), own.end());
    }
}

// A policy whose budget is what it keeps: the nearest whole mean, at least 1 as any budget; asked is exact.
void add_kept_set(PolicyReplay& replay, const Run& run, const TraceInfo& info)
{
    add_budget(replay, run, 0, {}, {}, info);
    const auto heads = request_for(run, {}, info).heads();
    const auto total = sum_of(replay.counts);
    replay.budgets = replay.nominal = {std::max<std::int64_t>(1, (total + heads / 2) / heads)};
    replay.asked = replay.granted = {total};
}

// Retained entries at one nominal budget.
std::int64_t retained_total(const Run& run, std::int64_t budget, const TraceInfo& info)
{
    const auto request = request_for(run, {budget, {}}, info);
    const auto allocation = run.policy->allocate(run.rankings.front(), request);
    check_allocation(run.spec.canonical, allocation, request);
    auto counts = allocation.retained;
    for (auto& count : counts) {
        count += request.window;
    }
    if (run.policy->constrains()) {
        constrained(run, 0, counts, request);
    }
    return sum_of(counts);
}

// Retained totals at every nominal budget that leaves something to choose: [seq_len - reserved].
std::vector<std::int64_t> retained_totals(const Run& run, const TraceInfo& info)
{
    std::vector<std::int64_t> totals;
    for (auto budget = run.reserved() + 1; budget <= info.seq_len; ++budget) {
        totals.push_back(retained_total(run, budget, info));
    }
    return totals;
}

// The nominal budget whose retained total is nearest `target`; ties: the smaller.
std::int64_t matching_budget(const std::vector<std::int64_t>& totals, std::int64_t target, std::int64_t reserved)
{
    const auto nearer
        = [target](std::int64_t a, std::int64_t b) { return std::abs(a - target) < std::abs(b - target); };
    return reserved + 1 + (std::min_element(totals.begin(), totals.end(), nearer) - totals.begin());
}

// The smallest nominal budget that retains at least `target`, or the whole prompt: bisected, as if a larger budget
// never retained less.
std::int64_t first_retaining(const Run& run, std::int64_t target, const TraceInfo& info)
{
    auto low = run.reserved() + 1, high = info.seq_len;
    while (low < high) {
        const auto middle = low + (high - low) / 2;
        if (retained_total(run, middle, info) < target) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The same budget for a constrained policy, whose totals cost too much to have all of them.
std::int64_t bisected_budget(const Run& run, std::int64_t target, const TraceInfo& info)
{
    const auto above = first_retaining(run, target, info);
    if (above == run.reserved() + 1) {
        return above;
    }
    const auto total_above = retained_total(run, above, info), total_below = retained_total(run, above - 1, info);
    return std::abs(total_below - target) <= std::abs(total_above - target) ? first_retaining(run, total_below, info)
                                                                            : above;
}

PolicyReplay plan_nominal(const Run& run, const TraceInfo& info)
{
    const auto& budgets = run.budgets;
    PolicyReplay replay;
    describe(replay, run, info.shape);
    if (run.policy->ignores_budget()) {
        add_kept_set(replay, run, info);
        return replay;
    }
    for (std::size_t g = 0; g < budgets.size(); ++g) {
        add_budget(replay, run, g, budgets[g], budgets[g], info);
    }
    return replay;
}

PolicyReplay plan_matched(const Run& run, const TraceInfo& info)
{
    const auto& budgets = run.budgets;
    PolicyReplay replay;
    describe(replay, run, info.shape);
    replay.match = "retained";
    const bool constrains = run.policy->constrains();
    const auto totals = constrains ? std::vector<std::int64_t>() : retained_totals(run, info);
    for (std::size_t g = 0; g < budgets.size(); ++g) {
        const auto target = budgets[g].entries * request_for(run, budgets[g], info).heads();
        const auto nominal
            = constrains ? bisected_budget(run, target, info) : matching_budget(totals, target, run.reserved());
        add_budget(replay, run, g, {nominal, {}}, budgets[g], info);
    }
    return replay;
}

bool retains_what_is_asked(const PolicyReplay& replay)
{
    const auto heads = replay.counts.size() / replay.budgets.size();
    for (std::size_t g = 0; g < replay.budgets.size(); ++g) {
        if (sum_of(std::span(replay.counts).subspan(g * heads, heads)) != replay.asked[g]) {
            return false;
        }
    }
    return true;
}

} // namespace

std::int64_t Run::reserved() const
{
    if (protected_entries.empty()) {
        return policy->reserved();
    }
    const auto window = std::max<std::int64_t>(policy->window(), 0);
    const auto before_window = protected_entries.end() - window;
    const auto protected_count = std::count(protected_entries.begin(), before_window, 1);
    return std::max(policy->reserved(), window + protected_count);
}

std::vector<Run> make_runs(const TraceInfo& info, const ReplayOptions& options, const ReplayObserver& observer)
{
    std::vector<Run> runs;
    for (auto& spec : options.policies.empty() ? default_policies() : options.policies) {
        auto policy = spec.make();
        check_length(*policy, spec.canonical, info);
        const auto reason = obstacle(*policy, spec.canonical, info);
        if (!reason.empty() && spec.is_required) {
            throw Error(info.file + ": " + reason);
        }
        if (!reason.empty()) {
            observer.note("left out: " + reason);
            continue;
        }
        const auto same = [&](const Run& run) { return run.spec.canonical == spec.canonical; };
        if (std::none_of(runs.begin(), runs.end(), same)) {
            const auto& params = spec.params;
            auto entries = params.has("protect") ? protected_positions(params.text("protect"), spec.canonical, info)
                                                 : std::vector<std::uint8_t>();
            runs.push_back({spec, std::move(policy), std::move(entries), {}});
        }
    }
    return runs;
}

namespace {

std::string nothing_to_choose(const Run& run, const Budget& budget)
{
    return formatted("{} leaves nothing to choose: {}{}{}", budget.entries, run.spec.canonical,
        run.reserved() == run.policy->window() ? " keeps a window of " : " reserves ", run.reserved());
}

// Gives the run the budgets above what it reserves; the others are left out with a note.
void take_budgets(Run& run, const std::vector<Budget>& budgets, const ReplayObserver& observer)
{
    for (const auto& budget : budgets) {
        if (budget.entries > run.reserved()) {
            run.budgets.push_back(budget);
        } else {
            observer.note("left out: a budget of " + nothing_to_choose(run, budget));
        }
    }
}

} // namespace

void make_budgets(
    const TraceInfo& info, const ReplayOptions& options, std::vector<Run>& runs, const ReplayObserver& observer)
{
    const auto ignores = [](const Run& run) { return run.policy->ignores_budget(); };
    if (options.budgets.empty()) {
        std::int64_t reserved = 0;
        for (const auto& run : runs) {
            reserved = std::max(reserved, run.reserved());
        }
        for (auto& run : runs) {
            run.budgets = default_budgets(info.seq_len, reserved);
        }
        return;
    }
    const auto budgets = parse_budgets(options.budgets, info.seq_len);
    const auto chooses = [&](const Run& run) { return ignores(run) || budgets.back().entries > run.reserved(); };
    if (!runs.empty() && std::ranges::none_of(runs, chooses)) {
        throw Error("--budget: " + nothing_to_choose(runs.front(), budgets.back()) + "; expected more than that");
    }
    if (!runs.empty() && std::ranges::all_of(runs, ignores)) {
        observer.note("--budget has no effect: what " + runs.front().spec.canonical
            + (runs.size() > 1 ? " and the other policies keep" : " keeps") + " does not follow from a budget");
    }
    for (auto& run : runs) {
        if (ignores(run)) {
            run.budgets = budgets;
        } else {
            take_budgets(run, budgets, observer);
        }
    }
    std::erase_if(runs, [](const Run& run) { return run.budgets.empty(); });
}

void rank_layers(
    const Trace& trace, std::vector<Run>& runs, const ReplayOptions& options, const ReplayObserver& observer)
{
    const auto& info = trace.info();
    std::int64_t query_rows = 0;
    bool any_per_query_head = false;
    for (auto& run : runs) {
        const auto layers = static_cast<std::size_t>(info.shape.num_layers);
        run.rankings.assign(run.policy->ranks_by_budget() ? run.budgets.size() : 1, std::vector<RankedLayer>(layers));
        run.ranking.resize(
            run.rankings.size() * layers * static_cast<std::size_t>(cache_heads(run, info.shape) * info.seq_len));
        query_rows = std::max(query_rows, run.policy->query_rows());
        any_per_query_head |= run.policy->per_query_head();
    }
    query_rows = std::min(query_rows, info.window); // more than there are only where all are recorded
    for_each_layer(trace, options.threads, [&](const LayerView& view, int threads_each) {
        const LayerInputs inputs(
            view, query_rows, {info.rope_inv_freq, info.rope_attention_scaling}, threads_each, options.device);
        const auto expanded_view = any_per_query_head ? per_query_head(view) : LayerView();
        const auto expanded = inputs.seen_by_query_heads(expanded_view);
        parallel_items(static_cast<std::int64_t>(runs.size()), threads_each, [&](std::int64_t index) {
            auto& run = runs[static_cast<std::size_t>(index)];
            rank_layer_of(run, run.policy->per_query_head() ? expanded : inputs, info, options.device);
        });
        observer.step();
    });
}

void add_plans(ReplayReport& report, Run& run, BudgetMatch match)
{
    const auto& info = report.trace;
    if (run.policy->compares_heads()) {
        for (auto& layers : run.rankings) {
            for (auto& layer : layers) {
                merge_heads(layer);
                leave_memory(layer.sorted);
                leave_memory(layer.merged);
            }
        }
    }
    auto nominal = plan_nominal(run, info);
    // one ranking for each budget: the rule is asked again for none that was not scored
    const bool fixed = run.policy->ignores_budget() || run.policy->ranks_by_budget();
    const bool exact = retains_what_is_asked(nominal);
    std::optional<PolicyReplay> matched;
    if (!exact && match != BudgetMatch::nominal && !fixed) {
        matched = plan_matched(run, info);
    }
    // a constraint may keep other entries, as many of each head
    if (exact || (matched && matched->counts == nominal.counts && matched->ranking == nominal.ranking)) {
        nominal.match = "both";
        matched.reset();
    }
    auto& first = report.policies.emplace_back(
        matched && match == BudgetMatch::retained ? std::move(*matched) : std::move(nominal));
    run.rankings.clear();
    if (!run.policy->constrains()) {
        first.ranking = std::move(run.ranking);
    }
    if (matched && match == BudgetMatch::both) {
        matched->ranking_of = run.policy->constrains() ? -1 : static_cast<std::int64_t>(report.policies.size()) - 1;
        report.policies.push_back(std::move(*matched));
    }
}

} // namespace lava
