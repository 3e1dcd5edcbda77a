#include "analysis/column_table.h"

#include "analysis/gain.h"
#include "analysis/oracle.h"
#include "analysis/quantities.h"
#include "analysis/score_reports.h"
#include "analysis/summary.h"
#include "analysis/tables.h"
#include "base/error.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace lava {

namespace {

struct NamedTable
{
    std::string name;
    std::vector<Column> columns;
};

std::vector<Column> score_columns()
{
    std::vector<Column> columns = prediction_score_columns();
    std::ranges::move(report_score_columns(), std::back_inserter(columns));
    return columns;
}

/// The tables of all commands. They have the same columns whatever the cells, but for those of spans and of the heads
/// of a map.
std::vector<NamedTable> every_table()
{
    return {{"table", comparison_table({}).columns}, {"layers", layer_table({}).columns},
        {"heads", head_table({}).columns}, {"budgets", budget_table({}).columns}, {"map", budget_map({}).columns},
        {"bounds", bound_table({}, Detail::run).columns}, {"spans", span_table({}, Detail::run).columns},
        {"gain", gain_columns({}, false)}, {"summary", summary_table({}).columns},
        {"answers", answer_table({}).columns}, {"retained", retained_columns()},
        {"curves", oracle_table({}, "").columns}, {"score", score_columns()}};
}

const ColumnRow& row_of(const std::string& table, const std::string& column)
{
    const ColumnRow* row = find_column(table, column);
    if (row == nullptr)
        throw std::logic_error("column " + column + " of " + table + " has no row in the list of columns");
    return *row;
}

/// The rows that speak of a table's columns.
std::set<const ColumnRow*> rows_of(const NamedTable& table)
{
    std::set<const ColumnRow*> rows;
    for (const Column& column : table.columns)
        rows.insert(&row_of(table.name, column.name));
    for (const ColumnRow& row : column_rows()) {
        if (row.tables.find(" " + table.name + " ") != std::string::npos)
            rows.insert(&row);
    }
    return rows;
}

std::vector<NamedTable> tables_named(std::span<const std::string> names)
{
    std::vector<NamedTable> tables = every_table();
    std::string known;
    for (const NamedTable& table : tables)
        known += (known.empty() ? "" : ", ") + table.name;
    for (const std::string& name : names) {
        if (std::ranges::find(tables, name, &NamedTable::name) == tables.end())
            throw UsageError("columns: expected " + known + ", found '" + name + "'");
    }
    std::erase_if(tables,
        [&](const NamedTable& table) { return !names.empty() && std::ranges::find(names, table.name) == names.end(); });
    return tables;
}

/// Code points, as a terminal shows them.
std::size_t width(std::string_view text)
{
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// A name, and behind it the text, its further lines as far in as the first.
std::string help_lines(const std::string& name, const std::string& text)
{
    constexpr std::size_t indent = 26;
    constexpr std::size_t most = 120;
    std::string lines
        = "  " + name + std::string(std::max<std::size_t>(indent - 2, name.size() + 1) - name.size(), ' ');
    std::size_t at = width(lines);
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find(' ', begin), text.size());
        const std::string word = text.substr(begin, end - begin);
        if (begin > 0 && at + 1 + width(word) > most) {
            lines += '\n' + std::string(indent, ' ');
            at = indent;
        } else if (begin > 0) {
            lines += ' ';
            ++at;
        }
        lines += word;
        at += width(word);
        begin = end + 1;
    }
    return lines + '\n';
}

} // namespace

Table column_table(std::span<const std::string> tables)
{
    const std::vector<NamedTable> named = tables_named(tables);
    std::vector<std::set<const ColumnRow*>> rows;
    for (const NamedTable& table : named)
        rows.push_back(rows_of(table));
    Table result{{{"column"}, {"unit"}, {"tables"}, {"definition"}, {"window", false}}, {}};
    for (const ColumnRow& row : column_rows()) {
        std::string used;
        for (std::size_t i = 0; i < named.size(); ++i) {
            if (rows[i].contains(&row))
                used += (used.empty() ? "" : ", ") + named[i].name;
        }
        if (!used.empty())
            result.rows.push_back({row.column, row.unit, used, row.definition, row.label});
    }
    return result;
}

std::string column_help(const std::string& table)
{
    const std::vector<NamedTable> tables = every_table();
    const auto found = std::ranges::find(tables, table, &NamedTable::name);
    if (found == tables.end())
        return "";
    const std::set<const ColumnRow*> rows = rows_of(*found);
    std::string text;
    std::set<std::string> endings;
    for (const ColumnRow& row : column_rows()) {
        if (rows.contains(&row) && row.ending.empty())
            text += help_lines(row.column, row.definition);
        else if (rows.contains(&row))
            endings.insert(row.ending);
    }
    for (const ColumnRow& row : derived_rows("NAME")) {
        if (endings.contains(row.ending))
            text += help_lines(row.column, row.definition);
    }
    return text;
}

} // namespace lava
