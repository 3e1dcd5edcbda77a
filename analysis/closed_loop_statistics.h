#pragma once

#include "analysis/statistics.h"

#include <optional>
#include <string>

namespace lava {

/// Decode steps that count: those whose input belongs to the answer, which ends at the reference's end or before the
/// first token that ends an answer. The step that predicts that token counts; what lies behind it, an invented next
/// turn, does not. 0 where the answer is empty or the closed loop was not run.
std::int64_t answer_steps(const ReplayReport& report);

/// The closed loop of a cell (method: section 3.2): means over the answer's steps; relative drift is a ratio of sums
/// over layers and these steps.
struct ClosedLoopSummary
{
    double kl = 0; ///< nats
    std::optional<double> cross_entropy; ///< nats; nothing where the answer has one token
    double top1_agreement = 0; ///< share of the steps whose most likely token is the dense run's
    double drift_l1_relative = 0;
    double drift_l2_relative = 0;
};

/// Nothing where the report has no closed loop, or no step of it counts.
std::optional<ClosedLoopSummary> closed_loop(const Cell& cell);

/// ", closed loop over 16 steps", or of how many the answer has fewer: ", closed loop over the answer's 2 of 16 steps";
/// empty where there is none.
std::string closed_loop_text(const ReplayReport& report);

/// The mean of `kl` over all steps, those behind the answer's end included.
std::optional<double> kl_of_all_steps(const Cell& cell);

/// What the prompt itself leads to, the first token of every answer; nothing where the report cannot tell: it was made
/// without --free, by a version before 1.3, of a trace with a reference.
std::optional<std::int64_t> next_id(const ReplayReport& report);

/// Whether the answer's tokens, the one that ends it included, are what the model says: the first after the prompt,
/// each other one after the tokens before it. `dense_exact`: with the whole cache. Nothing where the report has no
/// closed loop or cannot tell of the first token.
std::optional<bool> exact(const Cell& cell);
std::optional<bool> dense_exact(const ReplayReport& report);

/// Drift of the residual stream after one layer, relative to the dense run's; nothing where the report has none.
struct LayerDrift
{
    double l1_relative = 0;
    double l2_relative = 0;
};
std::optional<LayerDrift> drift(const Cell& cell, std::int64_t layer);

/// What the cell, or the dense run, answers by itself, up to the token that ends an answer; ids in brackets, as "[17]",
/// where the report knows no text. Nothing where no answers were asked for.
std::optional<std::string> answer(const Cell& cell);
std::optional<std::string> dense_answer(const ReplayReport& report);

/// Whether the cell answers as the dense run does. Nothing where no answers were asked for, or where they cannot
/// differ: their first token is the prompt's, whatever is evicted after it.
std::optional<bool> same_as_dense(const Cell& cell);

} // namespace lava
