#pragma once

#include "analysis/budgets.h"
#include "replay/replay.h"

#include <memory>
#include <vector>

namespace lava {

/// A policy on its way through a replay: asked for, ranked, its budgets divided.
struct Run
{
    PolicySpec spec;
    std::unique_ptr<Policy> policy;
    std::vector<std::uint8_t> protected_entries; ///< [seq_len], 1 where no budget may reach; empty: none
    std::vector<std::vector<RankedLayer>>
        rankings; ///< [1, or G where it ranks by budget][L], their own rankings moved to `ranking`
    LargeVector<std::uint32_t> ranking = {}; ///< [1 or G, L, heads, seq_len]
    std::vector<Budget> budgets = {}; ///< [G], ascending: those that leave the policy something to choose

    /// Entries of a head that no budget may evict: the policy's own and the protected ones.
    std::int64_t reserved() const;
};

/// The policies asked for, or the default ones that the trace can serve; a note says which are left out. Throws Error
/// where one that was asked for and the trace do not fit.
std::vector<Run> make_runs(const TraceInfo& info, const ReplayOptions& options, const ReplayObserver& observer);

/// Gives every run the budgets asked for, or the default grid. A budget that leaves a policy nothing to choose is left
/// out for it, with a note, and so is a policy without any; throws Error where no cell is left.
void make_budgets(
    const TraceInfo& info, const ReplayOptions& options, std::vector<Run>& runs, const ReplayObserver& observer);

/// Every policy ranks the entries of every layer.
void rank_layers(
    const Trace& trace, std::vector<Run>& runs, const ReplayOptions& options, const ReplayObserver& observer);

/// Adds what a ranked policy keeps at every budget, and its twin at equal retention where `match` asks for one and it
/// differs (method: section 3.2). Takes the rankings out of `run`.
void add_plans(ReplayReport& report, Run& run, BudgetMatch match);

} // namespace lava
