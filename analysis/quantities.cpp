#include "analysis/quantities.h"

#include <algorithm>
#include <stdexcept>

namespace lava {

namespace {

constexpr LossRow<float> head_rows[] = {
    {"head_l1", Extent::query_heads, Needs::nothing, &LossFields::head_l1, &LossNumbers::head_l1,
        {.column = "head_l1",
            .unit = "attention mass",
            .definition
            = "||A - Â||_1 of a query head's attention, both normalised: twice the mass that is evicted, so "
              "at most 2 (Shen et al. 2025, Lemma 1); mean over steps and the row's query heads",
            .in_text = true,
            .window_place = 5,
            .label = "Head attention loss, L1",
            .heading = "Loss"}},
    {"head_output_l1", Extent::query_heads, Needs::nothing, &LossFields::head_output_l1, &LossNumbers::head_output_l1,
        {.column = "head_output_l1",
            .unit = "L1 norm",
            .definition = "||(A - Â) V||_1 of a query head's output before the output projection; mean over steps and "
                          "the row's query heads",
            .window_place = 6,
            .label = "Head output loss, L1",
            .heading = "Loss"},
        {.column = "head_output_l1_relative",
            .unit = "ratio",
            .definition = "head_output_l1 relative to ||A V||_1: the sum of the losses over the sum of the norms",
            .window_place = 7,
            .label = "Head output loss, L1, relative",
            .heading = "Loss"}},
    {"head_output_l2", Extent::query_heads, Needs::nothing, &LossFields::head_output_l2, &LossNumbers::head_output_l2,
        {.column = "head_output_l2",
            .unit = "L2 norm",
            .definition = "||(A - Â) V||_2 of a query head's output before the output projection; mean over steps and "
                          "the row's query heads"},
        {.column = "head_output_l2_relative",
            .unit = "ratio",
            .definition = "head_output_l2 relative to ||A V||_2: the sum of the losses over the sum of the norms",
            .window_place = 8,
            .label = "Head output loss, L2, relative",
            .heading = "Loss"}},
};

constexpr LossRow<double> layer_rows[] = {
    {"attn_out_l1", Extent::layer, Needs::nothing, &LossFields::attn_out_l1, &LossNumbers::attn_out_l1,
        {.column = "attn_out_l1",
            .unit = "L1 norm",
            .definition
            = "||y - ŷ||_1 of the attention output that is added to the residual stream, every layer reading "
              "the recorded stream (Shen et al. 2025, the objective, table 14); mean over steps and the row's layers",
            .in_text = true,
            .window_place = 3,
            .label = "Layer attention output loss, L1",
            .heading = "Loss"},
        {.column = "attn_out_l1_relative",
            .unit = "ratio",
            .definition = "attn_out_l1 relative to ||y||_1: the sum of the losses over the sum of the norms",
            .in_text = true,
            .window_place = 1,
            .label = "Layer attention output loss, L1, relative",
            .heading = "Loss",
            .summarized = Summarized::with_spread}},
    {"attn_out_l2", Extent::layer, Needs::nothing, &LossFields::attn_out_l2, &LossNumbers::attn_out_l2,
        {.column = "attn_out_l2",
            .unit = "L2 norm",
            .definition
            = "||y - ŷ||_2 of the attention output that is added to the residual stream; mean over steps and "
              "the row's layers",
            .window_place = 4,
            .label = "Layer attention output loss, L2",
            .heading = "Loss"},
        {.column = "attn_out_l2_relative",
            .unit = "ratio",
            .definition = "attn_out_l2 relative to ||y||_2: the sum of the losses over the sum of the norms",
            .in_text = true,
            .window_place = 2,
            .label = "Layer attention output loss, L2, relative",
            .heading = "Loss"}},
    {"bound_lava", Extent::layer, Needs::unchanged_values, &LossFields::bound_lava, &LossNumbers::bound_lava,
        {.column = "bound_lava",
            .unit = "L1 norm",
            .definition
            = "Upper bound of attn_out_l1: 2 max_r sum_c |W_O[r][c]| sum_h max_i ||v_i||_1 m_h, m_h the mass "
              "that query head h loses (Shen et al. 2025, Theorem 1); mean over steps and the row's layers"},
        {.column = "tightness_lava",
            .unit = "ratio",
            .definition = "attn_out_l1 over bound_lava: the sum of the losses over the sum of the bounds; 1 where both "
                          "are 0",
            .window_place = 9,
            .label = "Tightness of LAVa's bound",
            .heading = "Tightness"}},
    {"bound_adakv", Extent::layer, Needs::unchanged_values, &LossFields::bound_adakv, &LossNumbers::bound_adakv,
        {.column = "bound_adakv",
            .unit = "L1 norm",
            .definition = "Upper bound of attn_out_l1: 2 max_h max_i ||v_i W_O,h||_1 sum_h m_h (Feng et al. 2024; Shen "
                          "et al. 2025, Eq. 25); mean over steps and the row's layers"},
        {.column = "tightness_adakv",
            .unit = "ratio",
            .definition
            = "attn_out_l1 over bound_adakv: the sum of the losses over the sum of the bounds; 1 where both "
              "are 0",
            .window_place = 10,
            .label = "Tightness of Ada-KV's bound",
            .heading = "Tightness"}},
    {"bound_projected", Extent::layer, Needs::unchanged_values, &LossFields::bound_projected,
        &LossNumbers::bound_projected,
        {.column = "bound_projected",
            .unit = "L1 norm",
            .definition = "Upper bound of attn_out_l1: 2 sum_h max_i ||v_i W_O,h||_1 m_h (this toolkit's; never above "
                          "bound_adakv); mean over steps and the row's layers"},
        {.column = "tightness_projected",
            .unit = "ratio",
            .definition = "attn_out_l1 over bound_projected: the sum of the losses over the sum of the bounds; 1 where "
                          "both are 0",
            .window_place = 11,
            .label = "Tightness of the projected bound",
            .heading = "Tightness"}},
    {"layer_out_l1", Extent::layer, Needs::model, &LossFields::layer_out_l1, &LossNumbers::layer_out_l1,
        {.column = "layer_out_l1",
            .unit = "L1 norm",
            .definition = "||x - x̂||_1 of the residual stream after the layer, its FFN included (lava-replay --model); "
                          "mean over steps and the row's layers"},
        {.column = "layer_out_l1_relative",
            .unit = "ratio",
            .definition = "layer_out_l1 relative to ||x||_1: the sum of the losses over the sum of the norms",
            .in_text = true,
            .window_place = 12,
            .label = "Layer output loss, L1, relative",
            .heading = "Loss"}},
    {"layer_out_l2", Extent::layer, Needs::model, &LossFields::layer_out_l2, &LossNumbers::layer_out_l2,
        {.column = "layer_out_l2",
            .unit = "L2 norm",
            .definition = "||x - x̂||_2 of the residual stream after the layer, its FFN included (lava-replay --model); "
                          "mean over steps and the row's layers"},
        {.column = "layer_out_l2_relative",
            .unit = "ratio",
            .definition = "layer_out_l2 relative to ||x||_2: the sum of the losses over the sum of the norms",
            .window_place = 13,
            .label = "Layer output loss, L2, relative",
            .heading = "Loss"}},
};

template <typename Number> auto of_summary(const Cell& cell, Number ClosedLoopSummary::*number)
{
    const auto summary = closed_loop(cell);
    return summary ? std::optional<double>((*summary).*number) : std::nullopt;
}

std::optional<double> of_drift(const Cell& cell, std::int64_t layer, double LayerDrift::*number)
{
    const auto found = drift(cell, layer);
    return found ? std::optional((*found).*number) : std::nullopt;
}

constexpr ClosedLoopColumn closed_loop_rows[] = {
    {{.column = "kl",
         .unit = "nats",
         .definition = "KL(whole cache || evicted) of the next token, mean over the answer's steps (lava-replay "
                       "--closed-loop)",
         .in_text = true,
         .window_place = 14,
         .label = "KL divergence from the whole cache, nats",
         .heading = "KL",
         .summarized = Summarized::with_spread},
        [](const Cell& cell) { return of_summary(cell, &ClosedLoopSummary::kl); }},
    {{.column = "cross_entropy",
         .unit = "nats",
         .definition = "-log p of the next token of the answer, mean over its tokens from the second to the one that "
                       "ends it",
         .window_place = 15,
         .label = "Cross-entropy of the next token, nats",
         .heading = "CE"},
        [](const Cell& cell) { return of_summary(cell, &ClosedLoopSummary::cross_entropy); }},
    {{.column = "top1_agreement",
         .unit = "share",
         .definition = "Share of the answer's steps whose most likely token is the one with the whole cache",
         .in_text = true,
         .window_place = 16,
         .label = "Most likely token as with the whole cache",
         .heading = "Top-1",
         .is_share = true,
         .summarized = Summarized::mean},
        [](const Cell& cell) { return of_summary(cell, &ClosedLoopSummary::top1_agreement); }},
    {{.column = "drift_l1_relative",
         .unit = "ratio",
         .definition = "||x - x̂||_1 of the residual stream from the run with the whole cache, relative to ||x||_1: the "
                       "sums over the answer's steps, of a run also over layers",
         .window_place = 17,
         .label = "Drift of the residual stream, L1, relative",
         .heading = "Drift"},
        [](const Cell& cell) { return of_summary(cell, &ClosedLoopSummary::drift_l1_relative); },
        [](const Cell& cell, std::int64_t layer) { return of_drift(cell, layer, &LayerDrift::l1_relative); }},
    {{.column = "drift_l2_relative",
         .unit = "ratio",
         .definition = "||x - x̂||_2 of the residual stream from the run with the whole cache, relative to ||x||_2: the "
                       "sums over the answer's steps, of a run also over layers",
         .window_place = 18,
         .label = "Drift of the residual stream, L2, relative",
         .heading = "Drift"},
        [](const Cell& cell) { return of_summary(cell, &ClosedLoopSummary::drift_l2_relative); },
        [](const Cell& cell, std::int64_t layer) { return of_drift(cell, layer, &LayerDrift::l2_relative); }, true},
    {{.column = "kl_all_steps",
         .unit = "nats",
         .definition = "kl over all steps of the closed loop, those behind the answer's end included"},
        kl_of_all_steps},
};

constexpr SpanColumn span_rows[] = {
    {{.column = "survival_NAME",
         .unit = "share",
         .definition = "Entries of the span NAME that are kept, over its length times the heads of the run",
         .in_text = true,
         .label = "Survival of span “NAME”",
         .heading = "Survival",
         .is_share = true},
        "survival_", &SpanFate::survival, true},
    {{.column = "global_eviction_NAME",
         .unit = "share",
         .definition = "Share of the tokens of the span NAME that no head keeps",
         .label = "Tokens of “NAME” that no head keeps",
         .heading = "Gone",
         .is_share = true},
        "global_eviction_", &SpanFate::global_eviction, false},
};

} // namespace

std::span<const LossRow<float>> head_loss_rows()
{
    return head_rows;
}

std::span<const LossRow<double>> layer_loss_rows()
{
    return layer_rows;
}

std::vector<std::int64_t> loss_shape(std::vector<std::int64_t> leading, Extent extent, const TraceInfo& trace)
{
    leading.push_back(trace.shape.num_layers);
    if (extent == Extent::query_heads)
        leading.push_back(trace.shape.num_heads);
    leading.push_back(trace.eval_len);
    return leading;
}

std::int64_t count_of(const std::vector<std::int64_t>& shape)
{
    std::int64_t count = 1;
    for (const std::int64_t extent : shape)
        count *= extent;
    return count;
}

std::vector<LossColumn> loss_columns()
{
    std::vector<LossColumn> columns;
    const auto add = [&](const auto& row, const Display& display) {
        if (display.exists())
            columns.push_back({display, row.extent, row.needs, &display == &row.ratio, row.number});
    };
    for (const LossRow<float>& row : head_rows) {
        add(row, row.mean);
        add(row, row.ratio);
    }
    for (const Needs needs : {Needs::nothing, Needs::model}) {
        for (const LossRow<double>& row : layer_rows) {
            if (row.needs == needs) {
                add(row, row.mean);
                add(row, row.ratio);
            }
        }
    }
    for (const auto display : {&LossRow<double>::mean, &LossRow<double>::ratio}) {
        for (const LossRow<double>& row : layer_rows) {
            if (row.is_bound())
                add(row, row.*display);
        }
    }
    return columns;
}

LossColumn loss_column(std::string_view column)
{
    for (const LossColumn& found : loss_columns()) {
        if (column == found.display.column)
            return found;
    }
    throw std::out_of_range("no loss is called " + std::string(column));
}

std::span<const ClosedLoopColumn> closed_loop_measures()
{
    return closed_loop_rows;
}

std::span<const SpanColumn> span_measures()
{
    return span_rows;
}

} // namespace lava
