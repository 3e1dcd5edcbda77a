#include "analysis/tables.h"

#include "analysis/quantities.h"
#include "analysis/report_set.h"
#include "analysis/selection.h"
#include "analysis/table_rows.h"
#include "base/error.h"
#include "base/formatted.h"
#include "traces/recorded_part.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <set>

namespace lava {

namespace {

bool from_several_reports(std::span<const Cell> cells)
{
    return std::ranges::any_of(cells, [&](const Cell& cell) { return &cell.report != &cells.front().report; });
}

/// Whether budgets are not all what the policies' rules were given, so that a table says how they are compared.
bool any_at_equal_retention(std::span<const Cell> cells)
{
    return std::ranges::any_of(cells, [](const Cell& cell) { return cell.replay().match == "retained"; });
}

/// Nothing where the table is not broken down so far.
ColumnOf layer_column(bool broken_down = true)
{
    return {{"layer", broken_down}, [broken_down](const Subject& subject) {
                return broken_down ? Value(layer_number(subject.cell.report.trace, subject.head.layer)) : Value();
            }};
}

ColumnOf kv_head_column(bool broken_down = true)
{
    return {{"kv_head", broken_down}, [broken_down](const Subject& subject) {
                return broken_down ? Value(cache_head_number(subject.cell, subject.head.kv_head)) : Value();
            }};
}

enum class Shown
{
    selected,
    all
};

ColumnOf loss_column_of(const LossColumn& column, Shown shown)
{
    return {{column.display.column, column.display.in_text || shown == Shown::all},
        [column](const Subject& subject) -> Value {
            if (!subject.losses || std::isnan(column.of(*subject.losses)))
                return {};
            return column.of(*subject.losses);
        }};
}

/// Columns of all losses; people see those of layer outputs only where a report has them.
Columns all_loss_columns(std::span<const Cell> cells)
{
    Columns columns;
    const bool any = std::ranges::any_of(cells, [](const Cell& cell) { return cell.report.has_layer_outputs(); });
    for (const LossColumn& loss : loss_columns()) {
        ColumnOf& column = columns.emplace_back(loss_column_of(loss, Shown::selected));
        if (loss.needs == Needs::model)
            column.column.in_text = column.column.in_text && any;
    }
    return columns;
}

Columns head_loss_columns()
{
    Columns columns;
    for (const LossColumn& loss : loss_columns()) {
        if (loss.extent == Extent::query_heads)
            columns.push_back(loss_column_of(loss, Shown::all));
    }
    return columns;
}

/// What the bounds are of, the bounds, and their tightness.
Columns bound_columns()
{
    Columns columns{loss_column_of(loss_column("attn_out_l1"), Shown::all)};
    for (const LossColumn& loss : loss_columns()) {
        if (loss.needs == Needs::unchanged_values)
            columns.push_back(loss_column_of(loss, Shown::all));
    }
    return columns;
}

Columns retention_columns()
{
    return {
        {{"asked"}, [](const Subject& subject) { return subject.cell.replay().asked[subject.cell.budget]; }},
        {{"granted"}, [](const Subject& subject) { return subject.cell.replay().granted[subject.cell.budget]; }},
        {{"retained"}, [](const Subject& subject) { return retained(subject.cell); }},
    };
}

/// Index of the report's `occurrence`-th span of that name; nothing where it has none.
std::optional<std::size_t> find_span(const ReplayReport& report, const std::string& name, std::size_t occurrence)
{
    for (std::size_t i = 0; i < report.trace.spans.size(); ++i) {
        if (report.trace.spans[i].name == name && occurrence-- == 0)
            return i;
    }
    return std::nullopt;
}

/// Two columns for a span; the later ones of a repeated name are numbered, so that columns stay distinct.
Columns span_columns(const std::string& name, std::size_t occurrence)
{
    Columns columns;
    const std::string suffix = occurrence == 0 ? name : formatted("{}_{}", name, occurrence + 1);
    for (const SpanColumn& measure : span_measures()) {
        columns.push_back({{measure.prefix + suffix, measure.display.in_text}, [=](const Subject& subject) -> Value {
                               const auto span = find_span(subject.cell.report, name, occurrence);
                               if (!span || subject.fates.empty())
                                   return {};
                               return subject.fates[*span].*measure.number;
                           }});
    }
    return columns;
}

/// Columns for every span of any of the reports, in order of appearance.
Columns all_span_columns(std::span<const Cell> cells)
{
    Columns columns;
    std::set<std::pair<std::string, std::size_t>> seen;
    const ReplayReport* last = nullptr;
    for (const Cell& cell : cells) {
        if (&cell.report == last)
            continue;
        last = &cell.report;
        std::map<std::string, std::size_t> occurrences;
        for (const Span& span : cell.report.trace.spans) {
            const std::size_t occurrence = occurrences[span.name]++;
            if (seen.emplace(span.name, occurrence).second)
                append(columns, span_columns(span.name, occurrence));
        }
    }
    return columns;
}

/// Calls `visit` for every layer asked for (by its number in the model; all where none is), or for every head of each
/// that keeps a cache; once where the run is not broken down.
void for_each_part(
    const Cell& cell, Detail detail, std::span<const std::int64_t> layers, const std::function<void(HeadId)>& visit)
{
    if (detail == Detail::run) {
        visit({});
        return;
    }
    std::vector<std::int64_t> places = layer_places(cell.report, layers);
    for (std::int64_t layer = 0; layers.empty() && layer < cell.report.trace.shape.num_layers; ++layer)
        places.push_back(layer);
    for (const std::int64_t layer : places) {
        for (std::int64_t kv_head = 0; kv_head < (detail == Detail::head ? cell.cache_heads() : 1); ++kv_head)
            visit({layer, kv_head});
    }
}

SpanFate fate_of(const Cell& cell, const Span& span, Detail detail, HeadId part)
{
    switch (detail) {
    case Detail::layer:
        return span_fate(cell, span, part.layer);
    case Detail::head:
        return span_fate(cell, span, part);
    case Detail::run:
        break;
    }
    return span_fate(cell, span);
}

/// [0, 1, 2, 3, 17] as "0-3,17".
std::string stretches(const std::vector<std::int64_t>& positions)
{
    std::string text;
    for (std::size_t begin = 0; begin < positions.size();) {
        std::size_t end = begin + 1;
        while (end < positions.size() && positions[end] == positions[end - 1] + 1)
            ++end;
        text += (text.empty() ? "" : ",") + std::to_string(positions[begin]);
        if (end - begin > 1)
            text += formatted("-{}", positions[end - 1]);
        begin = end;
    }
    return text;
}

Rows rows_of_positions()
{
    return Rows({layer_column(), kv_head_column(),
        {{"retained"}, [](const Subject& subject) { return retained(subject.cell, subject.head); }},
        {{"positions"}, [](const Subject& subject) { return stretches(kept_positions(subject.cell, subject.head)); }}});
}

} // namespace

Columns key_columns(std::span<const Cell> cells)
{
    return {
        {{"report", from_several_reports(cells)}, [](const Subject& subject) { return subject.cell.report.file; }},
        {{"prompt_id", false}, [](const Subject& subject) { return prompt_id(subject.cell.report.trace); }},
        {{"seq_len", false}, [](const Subject& subject) { return subject.cell.report.trace.seq_len; }},
        {{"policy"}, [](const Subject& subject) { return subject.cell.replay().policy; }},
        {{"match", any_at_equal_retention(cells)}, [](const Subject& subject) { return subject.cell.replay().match; }},
        {{"budget"}, [](const Subject& subject) { return subject.cell.replay().budgets[subject.cell.budget]; }},
        {{"budget_share", false},
            [](const Subject& subject) {
                return static_cast<double>(subject.cell.replay().budgets[subject.cell.budget])
                    / static_cast<double>(subject.cell.report.trace.seq_len);
            }},
        {{"nominal", false}, [](const Subject& subject) { return nominal_budget(subject.cell); }},
    };
}

Table comparison_table(std::span<const Cell> cells)
{
    Columns columns = key_columns(cells);
    columns.back().column.in_text = any_at_equal_retention(cells); // nominal
    append(columns, retention_columns());
    append(columns, all_loss_columns(cells));
    append(columns, all_span_columns(cells));
    append(columns, closed_loop_columns(cells));
    Rows rows(std::move(columns));
    for (const Cell& cell : cells)
        rows.add({.cell = cell,
            .losses = losses(cell),
            .fates = cell.has_ranking() ? span_fates(cell) : std::vector<SpanFate>()});
    return rows.take();
}

Table layer_table(std::span<const Cell> cells, std::span<const std::int64_t> layers)
{
    Columns columns = key_columns(cells);
    columns.push_back(layer_column());
    columns.push_back(
        {{"retained"}, [](const Subject& subject) { return retained(subject.cell, subject.head.layer); }});
    columns.push_back({{"share"}, [](const Subject& subject) {
                           const auto all = static_cast<double>(retained(subject.cell));
                           const auto part = static_cast<double>(retained(subject.cell, subject.head.layer));
                           return all == 0 ? 0 : part / all;
                       }});
    append(columns, all_loss_columns(cells));
    append(columns, drift_columns(cells));
    Rows rows(std::move(columns));
    for (const Cell& cell : cells) {
        for_each_part(cell, Detail::layer, layers,
            [&](HeadId part) { rows.add({.cell = cell, .head = part, .losses = losses(cell, part.layer)}); });
    }
    return rows.take();
}

Table head_table(std::span<const Cell> cells, std::span<const std::int64_t> layers)
{
    Columns columns = key_columns(cells);
    columns.push_back(layer_column());
    columns.push_back({{"head"},
        [](const Subject& subject) { return query_head_number(subject.cell.report.trace, subject.query_head); }});
    columns.push_back(kv_head_column());
    columns.push_back({{"retained"}, [](const Subject& subject) { return retained(subject.cell, subject.head); }});
    append(columns, head_loss_columns());
    Rows rows(std::move(columns));
    for (const Cell& cell : cells) {
        const ModelShape shape = cell.shape();
        for_each_part(cell, Detail::layer, layers, [&](HeadId part) {
            for (std::int64_t head = 0; head < shape.num_heads; ++head) {
                rows.add({.cell = cell,
                    .head = {part.layer, head / shape.group_size()},
                    .query_head = head,
                    .losses = head_losses(cell, part.layer, head)});
            }
        });
    }
    return rows.take();
}

Table budget_table(std::span<const Cell> cells, std::span<const std::int64_t> layers)
{
    Columns columns = key_columns(cells);
    columns.push_back(layer_column());
    columns.push_back(kv_head_column());
    columns.push_back({{"retained"}, [](const Subject& subject) { return retained(subject.cell, subject.head); }});
    Rows rows(std::move(columns));
    for (const Cell& cell : cells)
        for_each_part(cell, Detail::head, layers, [&](HeadId part) { rows.add({.cell = cell, .head = part}); });
    return rows.take();
}

Table budget_map(std::span<const Cell> cells, std::span<const std::int64_t> layers)
{
    std::int64_t heads = 0;
    for (const Cell& cell : cells)
        heads = std::max(heads, cell.cache_heads());
    Columns columns = key_columns(cells);
    columns.push_back(layer_column());
    for (std::int64_t head = 0; head < heads; ++head) {
        columns.push_back({{std::to_string(head)}, [head](const Subject& subject) {
                               const Cell& cell = subject.cell;
                               if (head >= cell.cache_heads())
                                   return Value();
                               const auto kept = static_cast<double>(retained(cell, {subject.head.layer, head}));
                               const auto all = static_cast<double>(cell.report.trace.seq_len);
                               return Value(std::int64_t{std::llround(100 * kept / all)});
                           }});
    }
    Rows rows(std::move(columns));
    for (const Cell& cell : cells)
        for_each_part(cell, Detail::layer, layers, [&](HeadId part) { rows.add({.cell = cell, .head = part}); });
    return rows.take();
}

Table bound_table(std::span<const Cell> cells, Detail detail, std::span<const std::int64_t> layers)
{
    for (const Cell& cell : cells) {
        if (!cell.report.has_losses())
            throw Error(cell.report.file
                + ": bounds are of losses, and this report has none: its trace was recorded without the loss part");
    }
    Columns columns = key_columns(cells);
    columns.push_back(layer_column(detail != Detail::run));
    append(columns, bound_columns());
    Rows rows(std::move(columns));
    for (const Cell& cell : cells) {
        for_each_part(cell, detail == Detail::run ? Detail::run : Detail::layer, layers, [&](HeadId part) {
            rows.add({.cell = cell,
                .head = part,
                .losses = detail == Detail::run ? losses(cell) : losses(cell, part.layer)});
        });
    }
    return rows.take();
}

Table span_table(std::span<const Cell> cells, Detail detail, std::span<const std::int64_t> layers)
{
    Columns columns = key_columns(cells);
    columns.push_back({{"span"}, [](const Subject& subject) { return subject.span->name; }});
    columns.push_back({{"begin"}, [](const Subject& subject) { return subject.span->begin; }});
    columns.push_back({{"end"}, [](const Subject& subject) { return subject.span->end; }});
    columns.push_back(layer_column(detail != Detail::run));
    columns.push_back(kv_head_column(detail == Detail::head));
    columns.push_back({{"survival"}, [](const Subject& subject) { return subject.fate.survival; }});
    columns.push_back({{"global_eviction"}, [](const Subject& subject) { return subject.fate.global_eviction; }});
    Rows rows(std::move(columns));
    for (const Cell& cell : cells) {
        for (const Span& span : cell.report.trace.spans) {
            for_each_part(cell, detail, layers, [&](HeadId part) {
                rows.add({.cell = cell, .head = part, .span = &span, .fate = fate_of(cell, span, detail, part)});
            });
        }
    }
    return rows.take();
}

std::vector<Column> retained_columns()
{
    return rows_of_positions().take().columns;
}

Table retained_table(const Cell& cell)
{
    Rows rows = rows_of_positions();
    for_each_part(cell, Detail::head, {}, [&](HeadId part) { rows.add({.cell = cell, .head = part}); });
    return rows.take();
}

std::string retained_json(const Cell& cell)
{
    const ModelShape& shape = cell.report.trace.shape;
    nlohmann::ordered_json kept = nlohmann::ordered_json::array();
    for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
        kept.push_back(nlohmann::ordered_json::array());
        for (std::int64_t kv_head = 0; kv_head < cell.cache_heads(); ++kv_head)
            kept.back().push_back(kept_positions(cell, {layer, kv_head}));
    }
    nlohmann::ordered_json object;
    object["policy"] = cell.replay().policy;
    object["match"] = cell.replay().match;
    object["budget"] = cell.replay().budgets[cell.budget];
    object["seq_len"] = cell.report.trace.seq_len;
    object["kept"] = std::move(kept);
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace lava
