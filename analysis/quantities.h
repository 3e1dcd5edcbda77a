#pragma once

#include "analysis/closed_loop_statistics.h"
#include "analysis/losses.h"
#include "analysis/statistics.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

// Every quantity of a report and every column of a table, said once. The sizes of arrays, the file and its checks,
// statistics, tables (text, CSV, JSON), --pivot, the help, the window's measures and `lava-analyze columns` are made of
// these rows.
//
// To add a loss, a bound or a measure of the closed loop:
//   1. declare it in Losses (analysis/losses.h), or in ClosedLoopReplay and the list below it (analysis/closed_loop.h);
//   2. compute it in replay/: of what is retained, and of the whole cache where it is to be shown relative to that;
//   3. give it a row in quantities.cpp (`may_be_absent`), and the page on the format (analysis/FORMAT.md) its name.

/// Whether lava-analyze summary has the mean of a number over prompts.
enum class Summarized
{
    no,
    mean, ///< to people; its deviation and difference in CSV and JSON alone
    with_spread ///< mean, deviation and difference to people too
};

/// A number as tables and the window show it.
struct Display
{
    const char* column = ""; ///< name in tables, for --pivot and --measure; empty: there is no such number
    const char* unit = "";
    const char* definition = ""; ///< one sentence, with the source of its formula
    bool in_text = false; ///< whether tables for people show it
    int window_place = 0; ///< among the window's measures, from 1 on; 0: not there
    const char* label = ""; ///< the window's name for it
    const char* heading = ""; ///< the window's name for it above a narrow column
    bool is_share = false; ///< in [0, 1], shown in percent there
    Summarized summarized = Summarized::no;

    bool exists() const { return *column != '\0'; }
};

/// What a loss has a number of, in each layer and at each step.
enum class Extent
{
    query_heads, ///< [Hq, T]
    layer ///< [T]
};

/// What has to be there for a loss, besides the loss part of the trace.
enum class Needs
{
    nothing,
    unchanged_values, ///< a policy that keeps values as they are: all bounds are of such
    model
};

/// A loss, or a bound of one.
template <typename T> struct LossRow
{
    const char* name; ///< name of the dataset, and part of the name of its norms'
    Extent extent;
    Needs needs;
    std::vector<T> LossFields::*array;
    double LossNumbers::*number;
    Display mean;
    Display ratio = {}; ///< to its norm; of a bound: its tightness
    bool may_be_absent = false; ///< reports written before there was this loss are read, and have none of it

    bool is_bound() const { return needs == Needs::unchanged_values; }
    bool has_norm() const { return ratio.exists() && !is_bound(); }
};

// Losses of heads and of layers, in the order of the file.
std::span<const LossRow<float>> head_loss_rows();
std::span<const LossRow<double>> layer_loss_rows();

template <typename Call> void for_each_loss(const Call& call)
{
    for (const LossRow<float>& row : head_loss_rows())
        call(row);
    for (const LossRow<double>& row : layer_loss_rows())
        call(row);
}

/// [leading..., L, Hq, T] or [leading..., L, T].
std::vector<std::int64_t> loss_shape(std::vector<std::int64_t> leading, Extent extent, const TraceInfo& trace);
/// The product of a shape's extents.
std::int64_t count_of(const std::vector<std::int64_t>& shape);

/// A number of a loss: its mean or its ratio.
struct LossColumn
{
    Display display;
    Extent extent;
    Needs needs;
    bool is_ratio = false;
    double LossNumbers::*number;

    double of(const LossSummary& losses) const { return (is_ratio ? losses.ratio : losses).*number; }
};

/// Columns of losses in the order of tables: of heads, of attention outputs, of layer outputs, bounds, tightness.
std::vector<LossColumn> loss_columns();
/// Throws std::out_of_range where there is none of that name.
LossColumn loss_column(std::string_view column);

/// A measure of the closed loop; nothing where the report has none.
struct ClosedLoopColumn
{
    Display display; ///< `in_text`: of the run
    std::optional<double> (*of_run)(const Cell&);
    std::optional<double> (*of_layer)(const Cell&, std::int64_t layer) = nullptr; ///< null: it is not of layers
    bool in_text_of_layers = false;
};

/// Measures of the closed loop in the order of tables.
std::span<const ClosedLoopColumn> closed_loop_measures();

/// What became of a span; NAME in its texts stands for the span.
struct SpanColumn
{
    Display display; ///< of comparisons, where the span is part of the column's name
    const char* prefix; ///< what stands before the span's name
    double SpanFate::*number;
    bool is_of_layers; ///< whether the window shows it of each layer
};

std::span<const SpanColumn> span_measures();

enum class ColumnKind
{
    key, ///< says what a row is about; --pivot does not take it
    retention,
    loss,
    layer_output,
    closed_loop,
    answer_text,
    span,
    statistic ///< over prompts or policies
};

/// A column of some table.
struct ColumnRow
{
    std::string column; ///< "survival_NAME": NAME stands for a span; "0, 1, ...": for every head's
    std::string unit;
    std::string definition;
    ColumnKind kind = ColumnKind::key;
    std::string label = {}; ///< in the window; empty: not there
    std::string tables = {}; ///< the tables that this row speaks of, between blanks: " heads map "; empty: all
    std::string ending = {}; ///< of a column that tells of another one: "_sd" of "kl_sd"
};

/// Columns of all tables, those of losses, spans and the closed loop among them, in the order of a glossary.
const std::vector<ColumnRow>& column_rows();

/// Columns that may tell of another one over prompts: NAME_n, NAME_sd, ...
std::vector<ColumnRow> derived_rows(const std::string& name, const std::string& unit = "");

/// The row that speaks of a table's column; null where none does.
const ColumnRow* find_column(std::string_view table, std::string_view column);

} // namespace lava
