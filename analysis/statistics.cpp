#include "analysis/statistics.h"

#include "analysis/quantities.h"
#include "base/error.h"
#include "base/formatted.h"
#include "base/sizes.h"
#include "traces/recorded_part.h"

#include <algorithm>
#include <limits>
#include <span>
#include <type_traits>

namespace lava {

namespace {

const TraceInfo& trace(const Cell& cell)
{
    return cell.report.trace;
}

/// A half-open stretch of layers or heads that a statistic looks at.
struct Range
{
    std::int64_t begin = 0;
    std::int64_t end = 0;

    std::int64_t size() const { return end - begin; }
};

Range all_layers(const Cell& cell)
{
    return {0, trace(cell).shape.num_layers};
}

Range all_kv_heads(const Cell& cell)
{
    return {0, cell.cache_heads()};
}

void check(const Cell& cell, const char* what, Range asked, std::int64_t count)
{
    if (asked.begin < 0 || asked.begin > asked.end || asked.end > count)
        throw Error(formatted("{}: {}: expected {} 0 to {}, found {}", cell.report.file, cell.replay().policy, what,
            count - 1, asked.begin < 0 ? asked.begin : asked.end - 1));
}

void check_layers(const Cell& cell, Range layers)
{
    check(cell, "layers", layers, trace(cell).shape.num_layers);
}

/// How many heads keep caches of their own depends on the policy.
void check(const Cell& cell, HeadId head)
{
    check_layers(cell, {head.layer, head.layer + 1});
    check(cell, "heads", {head.kv_head, head.kv_head + 1}, cell.cache_heads());
}

template <typename T> double sum(std::span<const T> values)
{
    double total = 0;
    for (const T value : values)
        total += static_cast<double>(value);
    return total;
}

double ratio(double part, double whole, double where_both_are_zero)
{
    if (whole != 0)
        return part / whole;
    return part == 0 ? where_both_are_zero : std::numeric_limits<double>::infinity();
}

/// The part of a loss's array [G, L, ...] that is a budget's, in the given layers; of norms, [L, ...], that of budget
/// 0.
template <typename T>
std::span<const T> of_layers(
    const Cell& cell, std::size_t budget, const std::vector<T>& values, Extent extent, Range layers)
{
    const std::int64_t width = trace(cell).eval_len * (extent == Extent::query_heads ? trace(cell).shape.num_heads : 1);
    const std::int64_t first
        = (static_cast<std::int64_t>(budget) * trace(cell).shape.num_layers + layers.begin) * width;
    return std::span<const T>(values).subspan(index(first), index(layers.size() * width));
}

/// What a summary says of a loss that the report, or the policy, does not have.
template <typename T> void leave_out(const LossRow<T>& loss, LossSummary& summary)
{
    summary.*loss.number = summary.ratio.*loss.number = std::numeric_limits<double>::quiet_NaN();
}

/// Mean and ratio of one loss over values and the norms beside them; no norms: those of a loss that has none.
template <typename T>
void summarize(const LossRow<T>& loss, std::span<const T> values, std::span<const T> norms, LossSummary& summary)
{
    const double total = sum(values);
    summary.*loss.number = total / static_cast<double>(values.size());
    if (loss.has_norm())
        summary.ratio.*loss.number = ratio(total, sum(norms), 0);
}

double tightness(const Cell& cell, const LossRow<double>& bound, Range layers)
{
    const auto losses = of_layers(cell, cell.budget, cell.replay().attn_out_l1, bound.extent, layers);
    return ratio(sum(losses), sum(of_layers(cell, cell.budget, cell.replay().*bound.array, bound.extent, layers)), 1);
}

std::optional<LossSummary> summarize(const Cell& cell, Range layers)
{
    check_layers(cell, layers);
    if (!cell.report.has_losses())
        return std::nullopt;
    LossSummary summary;
    for_each_loss([&]<typename T>(const LossRow<T>& loss) {
        const std::vector<T>& values = cell.replay().*loss.array;
        if (values.empty())
            return leave_out(loss, summary);
        std::span<const T> norms;
        if (loss.has_norm())
            norms = of_layers(cell, 0, cell.report.norms.*loss.array, loss.extent, layers);
        summarize(loss, of_layers(cell, cell.budget, values, loss.extent, layers), norms, summary);
        if constexpr (std::is_same_v<T, double>) {
            if (loss.is_bound())
                summary.ratio.*loss.number = tightness(cell, loss, layers);
        }
    });
    return summary;
}

/// What the head retains, in ranking order.
std::span<const std::uint32_t> kept(const Cell& cell, HeadId head)
{
    const std::int64_t count = retained(cell, head); // refuses a head that the policy does not have
    return cell.report.ranking(cell.policy, cell.budget, head.layer)
        .subspan(index(head.kv_head * trace(cell).seq_len), index(count));
}

/// [seq_len] How many of the given heads keep each prompt position.
std::vector<std::int64_t> keepers(const Cell& cell, Range layers, Range kv_heads)
{
    std::vector<std::int64_t> count(index(trace(cell).seq_len));
    for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
        for (std::int64_t kv_head = kv_heads.begin; kv_head < kv_heads.end; ++kv_head) {
            for (const std::uint32_t position : kept(cell, {layer, kv_head}))
                ++count[position];
        }
    }
    return count;
}

/// What became of a span; `keepers[token]` of `heads` heads keep each token.
SpanFate fate(const std::vector<std::int64_t>& keepers, const Span& span, std::int64_t heads)
{
    const auto tokens = std::span(keepers).subspan(index(span.begin), index(span.end - span.begin));
    const auto size = static_cast<double>(tokens.size());
    SpanFate result;
    result.survival = ratio(sum(tokens), size * static_cast<double>(heads), 0);
    result.global_eviction = ratio(static_cast<double>(std::ranges::count(tokens, 0)), size, 0);
    return result;
}

SpanFate fate(const Cell& cell, const Span& span, Range layers, Range kv_heads)
{
    return fate(keepers(cell, layers, kv_heads), span, layers.size() * kv_heads.size());
}

} // namespace

std::int64_t cache_head_number(const Cell& cell, std::int64_t head)
{
    const TraceInfo& trace = cell.report.trace;
    return cell.is_per_query_head() ? query_head_number(trace, head) : kv_head_number(trace, head);
}

std::int64_t corresponding_head(const Cell& from, const Cell& to, std::int64_t head)
{
    if (from.is_per_query_head() == to.is_per_query_head())
        return head;
    const std::int64_t group = from.report.trace.shape.group_size();
    return from.is_per_query_head() ? head / group : head * group;
}

std::int64_t nominal_budget(const Cell& cell)
{
    const PolicyReplay& replay = cell.replay();
    return (replay.nominal.empty() ? replay.budgets : replay.nominal)[cell.budget];
}

std::int64_t retained(const Cell& cell, HeadId head)
{
    check(cell, head);
    const ModelShape& shape = trace(cell).shape;
    const std::int64_t run = static_cast<std::int64_t>(cell.budget) * shape.num_layers;
    return cell.replay().counts[index((run + head.layer) * cell.cache_heads() + head.kv_head)];
}

std::int64_t retained(const Cell& cell, std::int64_t layer)
{
    check_layers(cell, {layer, layer + 1});
    std::int64_t total = 0;
    for (std::int64_t kv_head = 0; kv_head < cell.cache_heads(); ++kv_head)
        total += retained(cell, HeadId{layer, kv_head});
    return total;
}

std::int64_t retained(const Cell& cell)
{
    std::int64_t total = 0;
    for (std::int64_t layer = 0; layer < trace(cell).shape.num_layers; ++layer)
        total += retained(cell, layer);
    return total;
}

std::vector<std::int64_t> kept_positions(const Cell& cell, HeadId head)
{
    const std::span<const std::uint32_t> entries = kept(cell, head);
    std::vector<std::int64_t> positions(entries.begin(), entries.end());
    std::ranges::sort(positions);
    return positions;
}

std::optional<LossSummary> losses(const Cell& cell)
{
    return summarize(cell, all_layers(cell));
}

std::optional<LossSummary> losses(const Cell& cell, std::int64_t layer)
{
    return summarize(cell, {layer, layer + 1});
}

std::optional<LossSummary> head_losses(const Cell& cell, std::int64_t layer, std::int64_t head)
{
    check_layers(cell, {layer, layer + 1});
    check(cell, "query heads", {head, head + 1}, trace(cell).shape.num_heads);
    if (!cell.report.has_losses())
        return std::nullopt;
    LossSummary summary;
    const auto of_head = [&](std::span<const float> values) {
        const std::int64_t steps = trace(cell).eval_len;
        return values.subspan(index(head * steps), index(steps));
    };
    const Range layers{layer, layer + 1};
    for (const LossRow<float>& loss : head_loss_rows()) {
        const std::vector<float>& values = cell.replay().*loss.array;
        std::span<const float> norms;
        if (values.empty()) {
            leave_out(loss, summary);
            continue;
        }
        if (loss.has_norm())
            norms = of_head(of_layers(cell, 0, cell.report.norms.*loss.array, loss.extent, layers));
        summarize(loss, of_head(of_layers(cell, cell.budget, values, loss.extent, layers)), norms, summary);
    }
    return summary;
}

SpanFate span_fate(const Cell& cell, const Span& span)
{
    return fate(cell, span, all_layers(cell), all_kv_heads(cell));
}

SpanFate span_fate(const Cell& cell, const Span& span, std::int64_t layer)
{
    return fate(cell, span, {layer, layer + 1}, all_kv_heads(cell));
}

SpanFate span_fate(const Cell& cell, const Span& span, HeadId head)
{
    return fate(cell, span, {head.layer, head.layer + 1}, {head.kv_head, head.kv_head + 1});
}

std::vector<SpanFate> span_fates(const Cell& cell)
{
    const ModelShape& shape = trace(cell).shape;
    const std::vector<std::int64_t> count = keepers(cell, all_layers(cell), all_kv_heads(cell));
    std::vector<SpanFate> fates;
    for (const Span& span : trace(cell).spans)
        fates.push_back(fate(count, span, shape.num_layers * cell.cache_heads()));
    return fates;
}

double span_survival(const Cell& cell, const Span& span)
{
    return span_fate(cell, span).survival;
}

double span_survival(const Cell& cell, const Span& span, std::int64_t layer)
{
    return span_fate(cell, span, layer).survival;
}

double span_survival(const Cell& cell, const Span& span, HeadId head)
{
    return span_fate(cell, span, head).survival;
}

double global_eviction_ratio(const Cell& cell, const Span& span)
{
    return span_fate(cell, span).global_eviction;
}

} // namespace lava
