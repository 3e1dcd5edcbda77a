#pragma once

#include "analysis/statistics.h"
#include "analysis/table.h"

#include <optional>
#include <span>
#include <string>

namespace lava {

/// Many prompts in one table: per policy and kept share (budget / prompt length, to the whole percent), over the
/// reports that have the cell, the mean relative loss 3 (attn_out_l1_relative, a ratio of sums in each report), and
/// where the closed loop was run the mean KL(dense || evicted), the mean top-1 agreement with the dense run, and in how
/// many reports the answer is exact: every token of it, from the first to the one that ends it, is the most likely one
/// (`dense_exact`: of the same reports, with the whole cache; both are empty where a report cannot tell of the first
/// token). `rank_correlation`: Spearman's, of the mean loss 3 with the mean KL over the
/// policies at that share; empty where fewer than three policies have both. Reports without losses are left out of the
/// loss. `match`: what the cells were selected by (Filter::match).
Table summary_table(std::span<const Cell> cells, const std::string& match);

/// Spearman's rank correlation; ties share their mean rank. Nothing for fewer than two pairs or a constant.
std::optional<double> rank_correlation(std::span<const double> x, std::span<const double> y);

} // namespace lava
