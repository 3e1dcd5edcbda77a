#pragma once

#include "analysis/replay_report.h"

#include <optional>

namespace lava {

/// A cell of the sweep: the replay of one policy at one budget.
struct Cell
{
    const ReplayReport& report;
    std::size_t policy = 0; ///< index into report.policies
    std::size_t budget = 0; ///< index into that policy's budgets

    const PolicyReplay& replay() const { return report.policies[policy]; }
    std::int64_t cache_heads() const { return report.cache_heads(policy); }
    /// The model's, with the heads that keep caches of their own under the policy as KV heads.
    ModelShape shape() const
    {
        ModelShape shape = report.trace.shape;
        shape.num_kv_heads = cache_heads();
        return shape;
    }
    bool has_ranking() const { return report.has_ranking(policy); }
    /// Whether the policy keeps a cache for every query head, not for every KV head.
    bool is_per_query_head() const { return cache_heads() != report.trace.shape.num_kv_heads; }
};

/// The head that keeps a cache in `to` where `head` does in `from`: the same, the KV head that a query head reads, or
/// the first query head that reads a KV head. Both cells are of one report.
std::int64_t corresponding_head(const Cell& from, const Cell& to, std::int64_t head);

/// The number in the model of a head that keeps a cache: a KV head's, or a query head's where the policy keeps a cache
/// for each.
std::int64_t cache_head_number(const Cell& cell, std::int64_t head);

/// What the policy's rule was given for the cell: its budget, or the number whose retained total is nearest to it.
std::int64_t nominal_budget(const Cell& cell);

/// Entries retained by one KV head, a layer, the run. This, and all that reads kept sets or losses below, throws Error
/// naming file and policy for a layer or head that the policy does not have.
std::int64_t retained(const Cell& cell, HeadId head);
std::int64_t retained(const Cell& cell, std::int64_t layer);
std::int64_t retained(const Cell& cell);

/// Prompt positions that the head retains, ascending.
std::vector<std::int64_t> kept_positions(const Cell& cell, HeadId head);

/// Losses of the run, or of one layer; nothing where the trace had no loss part.
std::optional<LossSummary> losses(const Cell& cell);
std::optional<LossSummary> losses(const Cell& cell, std::int64_t layer);
/// Losses of one query head: the head_* members only, the others are 0.
std::optional<LossSummary> head_losses(const Cell& cell, std::int64_t layer, std::int64_t head);

/// What became of a span in the heads looked at: all of the run, those of a layer, one KV head. An empty span: 0, 0.
struct SpanFate
{
    double survival = 0; ///< kept entries of the span / (span length x heads looked at)
    double global_eviction = 0; ///< share of the span's tokens that none of the heads looked at keeps
};

SpanFate span_fate(const Cell& cell, const Span& span);
SpanFate span_fate(const Cell& cell, const Span& span, std::int64_t layer);
SpanFate span_fate(const Cell& cell, const Span& span, HeadId head);

/// What became of each of the report's spans in the run, in their order; one pass for all of them.
std::vector<SpanFate> span_fates(const Cell& cell);

/// The members of span_fate() by themselves.
double span_survival(const Cell& cell, const Span& span);
double span_survival(const Cell& cell, const Span& span, std::int64_t layer);
double span_survival(const Cell& cell, const Span& span, HeadId head);
double global_eviction_ratio(const Cell& cell, const Span& span);

} // namespace lava
