#pragma once

#include "analysis/statistics.h"
#include "analysis/table.h"

#include <span>
#include <string>
#include <vector>

namespace lava {

// The tables of lava-analyze. A table always has the same columns, whatever the cells, so that CSV files can be put
// together: first report, prompt_id, seq_len, policy, match, budget, budget_share (of the prompt) and nominal (the
// budget that the policy's rule was given). People are shown `report` where there are several, `match` and `nominal`
// where policies are compared at equal retention. Columns of losses, of layer outputs and of the closed loop are empty
// where a report has none; those of a span where a report lacks it. `layers`: numbers in the model, negative ones from
// the last; empty: all.

/// How far a table is broken down.
enum class Detail
{
    run,
    layer,
    head
};

/// Per policy and budget: asked, granted, retained, losses, bounds, tightness, and for every span survival_NAME and
/// global_eviction_NAME.
Table comparison_table(std::span<const Cell> cells);

/// Per layer: retained, its share of what the run retains, losses.
Table layer_table(std::span<const Cell> cells, std::span<const std::int64_t> layers = {});

/// Per layer and query head: what its KV head retains, head_* losses.
Table head_table(std::span<const Cell> cells, std::span<const std::int64_t> layers = {});

/// Per layer and KV head: retained.
Table budget_table(std::span<const Cell> cells, std::span<const std::int64_t> layers = {});

/// Per layer, a column for each KV head: percent of the prompt that it retains, rounded; nothing where the policy has
/// fewer heads with a cache of their own than another one shown.
Table budget_map(std::span<const Cell> cells, std::span<const std::int64_t> layers = {});

/// Loss 3, its upper bounds and their tightness, of the run or per layer. Throws Error for a report without losses.
Table bound_table(std::span<const Cell> cells, Detail detail, std::span<const std::int64_t> layers = {});

/// Per span: survival and global eviction over the heads of the run, of each layer, or of each KV head by itself.
Table span_table(std::span<const Cell> cells, Detail detail, std::span<const std::int64_t> layers = {});

/// Per policy and budget: what the model answers from what is retained, and whether the dense run answers the same.
/// Throws Error for a report without answers.
Table answer_table(std::span<const Cell> cells);

/// Per layer and KV head: the positions retained, stretches as "0-3,17".
Table retained_table(const Cell& cell);
/// Columns of retained_table().
std::vector<Column> retained_columns();

/// {"policy", "match", "budget", "seq_len", "kept": [layer][kv_head][positions, ascending]}: what external:file= reads.
std::string retained_json(const Cell& cell);

} // namespace lava
