#include "analysis/quantities.h"

#include <algorithm>
#include <iterator>

namespace lava {

namespace {

// Columns of which there is no number in the report, or none of its own: what rows are about, and what is counted.

std::vector<ColumnRow> before_losses()
{
    using enum ColumnKind;
    return {
        {"report", "", "File of the report", key},
        {"prompt_id", "", "The prompt: the trace's file without folder and ending", key},
        {"seq_len", "tokens", "Length of the prompt", key},
        {"policy", "", "The policy, with those of its parameters that differ from the defaults", key},
        {"match", "",
            "What a budget is compared by: nominal (the policy's rule was given it), retained (the rule was given the "
            "number whose retained total is nearest to it), both (that is the budget itself)",
            key},
        {"budget", "entries", "Entries that a KV head keeps on average, the window that is never evicted included",
            key},
        {"budget_share", "share", "budget over seq_len", key},
        {"kept_percent", "percent",
            "budget over seq_len, by which prompts of several lengths are brought together: the whole or half percent "
            "that all budgets can have been asked for in, else rounded to whole percent, or as far as a report's own "
            "budgets need to stay apart",
            key},
        {"nominal", "entries", "The budget that the policy's rule was given", retention},
        {"layer", "", "The layer's number in the model", key},
        {"head", "", "The query head's number in the layer", key},
        {"kv_head", "",
            "The head that keeps a cache: a KV head, or a query head where the policy keeps a cache for each", key},
        {"reports", "prompts", "Prompts that the row is about; NAME_n where fewer have the number", statistic},
        {"baseline", "",
            "The policy that the row's is compared with, prompt by prompt (--baseline); a row of match both with the "
            "baseline's at equal retention, where that is another one",
            key},
        {"asked", "entries", "What the budget comes to: budget times layers times heads that keep a cache", retention},
        {"granted", "entries", "What the policy's own rule allots, before clipping to what exists", retention},
        {"retained", "entries",
            "Entries kept by what the row is about: all heads of the run or of the layer, or a head", retention},
        {"share", "share", "What the layer retains over what the run retains", retention},
        {"retained_share", "share", "Entries retained over all entries, mean over the prompts", retention},
        {"0, 1, ...", "percent", "Share of the prompt that the KV head of this number keeps, rounded", retention, "",
            " map "},
        {"positions", "", "Positions of the prompt that the head keeps, from 0, stretches as 0-3,17", retention},
    };
}

std::vector<ColumnRow> after_losses()
{
    using enum ColumnKind;
    return {
        {"answer_steps", "steps", "Steps of the closed loop that belong to the answer, which kl and others are over",
            closed_loop},
        {"answer", "",
            "What the model says from what is retained, up to the token that ends an answer (lava-replay --free)",
            answer_text},
        {"same_as_dense", "yes, no",
            "Whether the answer is dense_answer; empty where that is its first token alone, which is the prompt's own",
            answer_text},
        {"dense_answer", "", "What the model says from the whole cache", answer_text},
        {"exact", "prompts",
            "Prompts whose answer is the reference's: every token of it, from the first to the one that ends it, is "
            "the "
            "most likely one, the first after the prompt, each other one from what is retained and the answer before "
            "it",
            statistic},
        {"dense_exact", "prompts", "exact, with the whole cache", statistic},
        {"rank_correlation", "-1 to 1",
            "Spearman's, of attn_out_l1_relative and kl over the policies of the same share and match that evict "
            "anything; empty for fewer than three, and for both where nominal and retained give two numbers",
            statistic},
        {"span", "", "Name of the marked stretch of the prompt", key},
        {"begin", "tokens", "First token of the span", key},
        {"end", "tokens", "One past the last token of the span", key},
        {"survival", "share",
            "Entries of the span that are kept, over its length times the heads that the row is about", span},
        {"global_eviction", "share", "Share of the span's tokens that none of the heads that the row is about keeps",
            span},
        {"gain", "ratio", "1 - attn_out_l1_other / attn_out_l1_base (Shen et al. 2025, table 14)", statistic},
        {"head_output_l1_relative", "ratio",
            "Sum over heads of their loss (||(A - Â) V||_1) relative to the layer's sum of ||A V||_1, mean over layers",
            loss, "", " curves "},
        {"oracle_loss", "ratio",
            "head_output_l1_relative of the same total, divided over heads and layers so that the sum of losses is "
            "least",
            loss},
        {"oracle_bound", "ratio", "What no division of the same total over heads and layers goes below", loss},
        {"duality_gap", "ratio", "oracle_loss - oracle_bound", loss},
    };
}

/// Columns of lava-analyze score, which is about a benchmark's predictions.
std::vector<ColumnRow> score_rows()
{
    using enum ColumnKind;
    constexpr const char* table = " score ";
    return {
        {"file", "", "File of predictions", key, "", table},
        {"line", "", "Line of the file, from 1", key, "", table},
        {"id", "", "The line's own id", key, "", table},
        {"dataset", "", "The benchmark's data set", key, "", table},
        {"benchmark", "", "The benchmark whose prompt lava-prompts made", key, "", table},
        {"variant", "", "The form of its prompts: official, or another program's", key, "", table},
        {"max_length", "tokens", "What the benchmark's texts were cut to (lava-prompts --max-length)", key, "", table},
        {"task", "",
            "The benchmark's task; all: the mean of its tasks' means, each counting the same, as LongBench averages",
            key, "", table},
        {"metric", "", "The metric, as the benchmark's own code computes it; empty for all tasks", key, "", table},
        {"length", "tokens", "Length of the context that a needle's prompt was asked to have", key, "", table},
        {"depth", "percent", "Share of a needle's prompt that stands before the needle", key, "", table},
        {"tasks", "tasks", "Tasks that the mean is over", statistic, "", table},
        {"samples", "samples", "Predictions, or prompts, that the row is about", statistic, "", table},
        {"score", "share", "From 0 to 1: of a line or a prompt with --by sample, else the mean over samples", statistic,
            "", table},
        {"score_sd", "share", "Standard deviation of the samples (n - 1); empty for all tasks", statistic, "", table},
        {"score_low", "share",
            "Lower end of the 95 % interval of the mean, percentile bootstrap of the samples, task by task (10,000 "
            "resamples, fixed seed); empty where a task has one sample",
            statistic, "", table},
        {"score_high", "share", "Upper end of the interval that score_low begins", statistic, "", table},
        {"percent", "percent", "100 times the mean, to two decimals, as the official scorers print it", statistic, "",
            table},
        {"needle_word_overlap", "share",
            "Share of a needle's words that the answer has: the second number that LAVa's needle scorer prints",
            statistic, "", table},
        {"dense_score", "share", "score of the answers from the whole cache, of the same prompts", statistic, "",
            table},
        {"score_difference", "share",
            "Mean over the prompts that both have of score less that of the baseline at the same share of the prompt; "
            "of all tasks the mean of the tasks' means",
            statistic, "", table},
        {"score_difference_low", "share",
            "Lower end of the 95 % interval of score_difference, as score_low; empty where a task has one sample",
            statistic, "", table},
        {"score_difference_high", "share", "Upper end of the interval that score_difference_low begins", statistic, "",
            table},
        {"won", "samples", "Prompts that score higher than with the baseline", statistic, "", table},
        {"tied", "samples", "Prompts that score the same, to 1e-9", statistic, "", table},
        {"lost", "samples", "Prompts that score lower than with the baseline", statistic, "", table},
        {"right_answers", "", "The right answers, as a JSON list", answer_text, "", table},
    };
}

/// What a table tells about another column; @ stands for that column.
struct Derived
{
    const char* ending;
    const char* unit; ///< null: the column's
    const char* definition;
};

constexpr Derived derived_columns[] = {
    {"_n", "prompts", "Prompts that the mean of @ is over"},
    {"_sd", nullptr, "Standard deviation of @ over the prompts (n - 1)"},
    {"_base", nullptr, "Mean over the prompts of @ of the first policy given, of the layer; of retained: of the run"},
    {"_base_sd", nullptr, "Standard deviation over the prompts (n - 1) of @ of the first policy given"},
    {"_other", nullptr, "Mean over the prompts of @ of the second policy given, of the layer; of retained: of the run"},
    {"_other_sd", nullptr, "Standard deviation over the prompts (n - 1) of @ of the second policy given"},
    {"_difference", nullptr,
        "Mean over the prompts that have both of @ less that of the policy compared with: the baseline, or the first"},
    {"_difference_n", "prompts", "Prompts that the mean of @_difference is over"},
    {"_difference_low", nullptr,
        "Lower end of the 95 % interval of @_difference, percentile bootstrap of the prompts (10,000 resamples, fixed "
        "seed); empty for one prompt, too narrow for a few"},
    {"_difference_high", nullptr, "Upper end of the interval that @_difference_low begins"},
};

ColumnRow row_of(const Display& display, ColumnKind kind)
{
    return {display.column, display.unit, display.definition, kind, display.label};
}

std::vector<ColumnRow> quantity_rows()
{
    std::vector<ColumnRow> rows;
    for (const LossColumn& column : loss_columns())
        rows.push_back(
            row_of(column.display, column.needs == Needs::model ? ColumnKind::layer_output : ColumnKind::loss));
    for (const ClosedLoopColumn& column : closed_loop_measures())
        rows.push_back(row_of(column.display, ColumnKind::closed_loop));
    return rows;
}

std::vector<ColumnRow> make_rows()
{
    std::vector<ColumnRow> rows = before_losses();
    std::ranges::move(quantity_rows(), std::back_inserter(rows));
    for (const SpanColumn& column : span_measures()) {
        ColumnRow& row = rows.emplace_back(row_of(column.display, ColumnKind::span));
        row.tables = " table ";
    }
    std::ranges::move(after_losses(), std::back_inserter(rows));
    std::ranges::move(score_rows(), std::back_inserter(rows));
    return rows;
}

std::string replaced(std::string text, const std::string& name)
{
    for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at + name.size()))
        text.replace(at, 1, name);
    return text;
}

/// The rows as they are made, each with those that may follow from it.
std::vector<ColumnRow> with_derived(const std::vector<ColumnRow>& rows)
{
    std::vector<ColumnRow> all;
    for (const ColumnRow& row : rows) {
        all.push_back(row);
        if (row.kind != ColumnKind::key && row.tables.empty())
            std::ranges::move(derived_rows(row.column, row.unit), std::back_inserter(all));
    }
    return all;
}

bool is_number(std::string_view column)
{
    return !column.empty() && column.find_first_not_of("0123456789") == std::string_view::npos;
}

/// Whether a row's name, or its pattern, is the column's.
bool names(const ColumnRow& row, std::string_view column)
{
    if (row.column == "0, 1, ...")
        return is_number(column);
    const bool is_pattern = row.kind == ColumnKind::span && row.column.ends_with("NAME");
    return is_pattern ? column.starts_with(std::string_view(row.column).substr(0, row.column.size() - 4))
                      : row.column == column;
}

} // namespace

std::vector<ColumnRow> derived_rows(const std::string& name, const std::string& unit)
{
    std::vector<ColumnRow> rows;
    for (const auto& [ending, own_unit, definition] : derived_columns) {
        rows.push_back({.column = name + ending,
            .unit = own_unit != nullptr ? own_unit : unit,
            .definition = replaced(definition, name),
            .kind = ColumnKind::statistic,
            .ending = ending});
    }
    return rows;
}

const std::vector<ColumnRow>& column_rows()
{
    static const std::vector<ColumnRow> rows = with_derived(make_rows());
    return rows;
}

const ColumnRow* find_column(std::string_view table, std::string_view column)
{
    const std::string between = " " + std::string(table) + " ";
    const ColumnRow* of_any = nullptr;
    for (const ColumnRow& row : column_rows()) {
        if (!names(row, column))
            continue;
        if (row.tables.find(between) != std::string::npos)
            return &row;
        if (row.tables.empty() && of_any == nullptr)
            of_any = &row;
    }
    return of_any;
}

} // namespace lava
