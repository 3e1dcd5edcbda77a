#pragma once

#include "analysis/closed_loop.h"
#include "analysis/losses.h"
#include "base/large_vector.h"
#include "traces/trace_info.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lava {

inline constexpr std::int64_t report_format_major = 1;
inline constexpr std::int64_t report_format_minor = 4;

/// One policy replayed over its grid of budgets. G = budgets.size(); L, Hq, Hkv, N, T as in TraceInfo.
/// Arrays are flat, row major, in the order of the bracketed shape. Loss arrays are [G, L, ...], and empty where the
/// trace has no loss part.
struct PolicyReplay : LossArrays
{
    std::string policy; ///< canonical spelling, parameters that differ from the default only: "snapkv:window=16"
    std::string name; ///< "snapkv"
    std::string variant; ///< "official", or empty
    std::vector<std::pair<std::string, std::string>> parameters; ///< all of them, defaults included
    std::int64_t window = 0; ///< recent tokens that the policy never evicts
    std::int64_t cache_heads = 0; ///< H: heads of a layer that keep caches of their own, Hkv or Hq; 0: Hkv
    /// What budgets and asked are compared by: "nominal" (the rule was given the budget), "retained" (the rule was
    /// given the number whose retained total is nearest), "both" (the budget is that number).
    std::string match = "nominal";

    std::vector<std::int64_t> budgets; ///< [G] ascending: entries per KV head on average, window included
    std::vector<std::int64_t> nominal; ///< [G] what the policy's rule was given; empty: the budgets
    std::vector<std::int64_t> asked; ///< [G] budget * L * H
    std::vector<std::int64_t> granted; ///< [G] what the policy's own rule allotted, before clipping to what exists
    /// [R, L, H, N] every prompt position once per head, the one kept longest first; R is 1, or G where a policy ranks
    /// anew for every budget. Empty where `ranking_of` says whose it is, or where the report keeps none.
    LargeVector<std::uint32_t> ranking;
    std::int64_t ranking_of = -1; ///< index of the policy whose rankings these are too; -1: its own
    std::vector<std::int64_t> counts; ///< [G, L, H] entries retained: that many of the head's ranking

    ClosedLoopReplay closed_loop;
};

/// H of a policy: its cache_heads, or the KV heads of the trace.
std::int64_t cache_heads(const PolicyReplay& replay, const TraceInfo& trace);

/// What a replay found: everything tables, charts and the window show, without the trace.
struct ReplayReport
{
    std::string file; ///< where it was read from; not stored
    std::string generator; ///< program and version
    TraceInfo trace; ///< of the trace replayed, its path in `trace.file`
    std::vector<double> deviations; ///< [L] worst step of --verify per layer; empty where it was not run
    UncompressedNorms norms; ///< [L, ...]
    ClosedLoopDense closed_loop;
    std::vector<PolicyReplay> policies;

    bool has_losses() const { return !norms.attn_out_l1.empty(); }
    bool has_layer_outputs() const { return !norms.layer_out_l1.empty(); } ///< layer_out_* losses, which need the model

    /// H of a policy.
    std::int64_t cache_heads(std::size_t policy) const;
    /// Whether the report says which entries the policy keeps.
    bool has_ranking(std::size_t policy) const;
    /// Whether the policy has a ranking for each budget.
    bool ranks_by_budget(std::size_t policy) const;
    /// [H, N] of a layer at a budget. Throws Error where the report keeps no rankings.
    std::span<const std::uint32_t> ranking(std::size_t policy, std::size_t budget, std::int64_t layer) const;
};

enum class Rankings
{
    kept,
    left_out ///< a smaller file that does not say which entries stay, only how many and at what loss
};

/// Writes by way of an OutputFile, the same bytes for any number of threads. Throws Error.
void write_report(
    const std::filesystem::path& file, const ReplayReport& report, Rankings rankings = Rankings::kept, int threads = 1);

/// Throws Error naming file, dataset, expected and found; refuses a newer major format version naming both.
ReplayReport read_report(const std::filesystem::path& file);

} // namespace lava
