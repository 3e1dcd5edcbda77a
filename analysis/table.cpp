#include "analysis/table.h"

#include "analysis/quantities.h"
#include "analysis/shares.h"
#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>

namespace lava {

namespace {

template <typename... Handlers> struct Overloaded : Handlers...
{
    using Handlers::operator()...;
};
template <typename... Handlers> Overloaded(Handlers...) -> Overloaded<Handlers...>;

/// Shortest text that reads back as the same number.
std::string full_precision(double value)
{
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return {text, end};
}

std::string four_digits(double value)
{
    char text[32];
    const int size = std::snprintf(text, sizeof text, "%.4g", value);
    return {text, static_cast<std::size_t>(size)};
}

/// Line breaks and other controls would break a row.
std::string printable(std::string text)
{
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
    return text;
}

std::string text_of(const Value& value)
{
    return std::visit(Overloaded{
                          [](std::monostate) { return std::string("-"); },
                          [](std::int64_t number) { return std::to_string(number); },
                          [](double number) { return four_digits(number); },
                          [](const std::string& text) { return printable(text); },
                      },
        value);
}

std::string quoted(const std::string& text)
{
    if (text.find_first_of(",\"\r\n") == std::string::npos)
        return text;
    std::string result = "\"";
    for (const char c : text)
        result += c == '"' ? std::string("\"\"") : std::string(1, c);
    return result + '"';
}

std::string plain(const Value& value)
{
    return std::visit(Overloaded{
                          [](std::monostate) { return std::string(); },
                          [](std::int64_t number) { return std::to_string(number); },
                          [](double number) { return full_precision(number); },
                          [](const std::string& text) { return text; },
                      },
        value);
}

std::string csv_of(const Value& value)
{
    return quoted(plain(value));
}

/// A bar would end the cell, a line break the row.
std::string in_markdown(const std::string& text)
{
    std::string result;
    for (const char c : printable(text))
        result += c == '|' ? std::string("\\|") : std::string(1, c);
    return result;
}

nlohmann::ordered_json json_of(const Value& value)
{
    return std::visit(Overloaded{
                          [](std::monostate) { return nlohmann::ordered_json(); },
                          [](const auto& something) { return nlohmann::ordered_json(something); },
                      },
        value);
}

/// Code points, as a terminal shows them.
std::size_t width(const std::string& text)
{
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// A column as people see it: header first.
struct TextColumn
{
    std::vector<std::string> cells;
    std::size_t width = 0;
    bool left = true; ///< words stand left, numbers right
};

TextColumn text_column(const Table& table, std::size_t column)
{
    TextColumn result;
    result.cells.push_back(printable(table.columns[column].name));
    for (const auto& row : table.rows) {
        result.cells.push_back(text_of(row[column]));
        if (!std::holds_alternative<std::string>(row[column]))
            result.left = false;
    }
    for (const std::string& cell : result.cells)
        result.width = std::max(result.width, width(cell));
    return result;
}

std::string padded(const TextColumn& column, std::size_t row)
{
    const std::string& cell = column.cells[row];
    const std::string blanks(column.width - width(cell), ' ');
    return column.left ? cell + blanks : blanks + cell;
}

std::optional<std::size_t> find(const Table& table, std::string_view name)
{
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        if (table.columns[i].name == name)
            return i;
    }
    return std::nullopt;
}

/// Whether a column of the comparison says which cell a row is about.
bool is_key(std::string_view name)
{
    const ColumnRow* row = find_column("table", name);
    return row != nullptr && row->kind == ColumnKind::key;
}

std::size_t find_quantity(const Table& table, std::string_view name)
{
    const auto found = find(table, name);
    if (found && !is_key(name))
        return *found;
    std::string known;
    for (const Column& column : table.columns) {
        if (!is_key(column.name))
            known += (known.empty() ? "" : ", ") + column.name;
    }
    throw UsageError("--pivot: expected one of " + known + "; found '" + std::string(name) + "'");
}

/// Why no report has a quantity.
std::string reason(std::string_view column)
{
    const ColumnRow* row = find_column("table", column);
    switch (row == nullptr ? ColumnKind::loss : row->kind) {
    case ColumnKind::closed_loop:
        return "the closed loop was not run (lava-replay --closed-loop)";
    case ColumnKind::answer_text:
        return "no answers were asked for (lava-replay --closed-loop --free)";
    case ColumnKind::span:
        return "the report keeps no rankings";
    case ColumnKind::layer_output:
        return "the model or the loss part of the trace was not there (lava-replay --model)";
    default:
        return "the replayed trace had no loss part";
    }
}

using Row = std::vector<Value>;

/// The columns of a pivoted table: budgets, or for prompts of several lengths shares of the prompt.
class BudgetColumns
{
public:
    /// `budget`: index of that column; those before it say whose budget it is.
    BudgetColumns(const Table& table, std::size_t budget)
        : budget_(budget)
        , seq_len_(find(table, "seq_len"))
        , shares_(series(table))
    {
        for (const Row& row : table.rows)
            by_share_ = by_share_ || (seq_len_ && row[*seq_len_] != table.rows.front()[*seq_len_]);
        for (const Row& row : table.rows)
            places_.emplace(place(row), 0);
        std::size_t next = 0;
        for (auto& [place, index] : places_)
            index = next++;
    }

    std::size_t index(const Row& row) const { return places_.at(place(row)); }

    std::vector<Column> columns() const
    {
        std::vector<Column> columns;
        for (const auto& [place, index] : places_)
            columns.push_back({by_share_ ? csv_of(shares_.percent(place)) + "%" : std::to_string(place)});
        return columns;
    }

    bool same_series(const Row& a, const Row& b) const
    {
        return std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(budget_), b.begin());
    }

private:
    std::int64_t place(const Row& row) const
    {
        const auto budget = std::get<std::int64_t>(row[budget_]);
        return by_share_ ? shares_.place(budget, std::get<std::int64_t>(row[*seq_len_])) : budget;
    }

    Shares series(const Table& table) const
    {
        std::vector<SeriesBudget> budgets;
        for (std::size_t i = 0; seq_len_ && i < table.rows.size(); ++i) {
            const Row& row = table.rows[i];
            const bool goes_on = i > 0 && same_series(row, table.rows[i - 1]);
            budgets.push_back({goes_on ? budgets.back().series : i, std::get<std::int64_t>(row[budget_]),
                std::get<std::int64_t>(row[*seq_len_])});
        }
        return Shares(budgets);
    }

    std::size_t budget_;
    std::optional<std::size_t> seq_len_;
    Shares shares_;
    bool by_share_ = false;
    std::map<std::int64_t, std::size_t> places_;
};

} // namespace

std::string to_text(const Table& table)
{
    std::vector<TextColumn> columns;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        if (table.columns[i].in_text)
            columns.push_back(text_column(table, i));
    }
    std::string text;
    for (std::size_t row = 0; row <= table.rows.size(); ++row) {
        std::string line;
        for (const TextColumn& column : columns)
            line += (line.empty() ? "" : "  ") + padded(column, row);
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

std::string to_csv(const Table& table)
{
    std::string text;
    for (std::size_t i = 0; i < table.columns.size(); ++i)
        text += (i == 0 ? "" : ",") + quoted(table.columns[i].name);
    text += '\n';
    for (const auto& row : table.rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            text += (i == 0 ? "" : ",") + csv_of(row[i]);
        text += '\n';
    }
    return text;
}

std::string to_json(const Table& table)
{
    std::string text = "[";
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
        nlohmann::ordered_json object;
        for (std::size_t i = 0; i < table.columns.size(); ++i)
            object[table.columns[i].name] = json_of(table.rows[row][i]);
        text += (row == 0 ? "\n" : ",\n") + object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    return text + (table.rows.empty() ? "]\n" : "\n]\n");
}

std::string to_markdown(const Table& table)
{
    std::string text, rule;
    for (const Column& column : table.columns) {
        text += "| " + in_markdown(column.name) + ' ';
        rule += "|---";
    }
    text += "|\n" + rule + "|\n";
    for (const Row& row : table.rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string cell = in_markdown(plain(row[i]));
            text += "| " + (i == 0 ? '`' + cell + '`' : cell) + ' ';
        }
        text += "|\n";
    }
    return text;
}

std::string to_string(const Table& table, TableFormat format)
{
    switch (format) {
    case TableFormat::csv:
        return to_csv(table);
    case TableFormat::json:
        return to_json(table);
    case TableFormat::markdown:
        return to_markdown(table);
    case TableFormat::text:
        break;
    }
    return to_text(table);
}

Table pivot(const Table& table, std::string_view column)
{
    const std::size_t quantity = find_quantity(table, column);
    const std::size_t budget = find(table, "budget").value();
    const auto is_missing
        = [quantity](const Row& row) { return std::holds_alternative<std::monostate>(row[quantity]); };
    if (!table.rows.empty() && std::ranges::all_of(table.rows, is_missing))
        throw Error("--pivot: there is no " + std::string(column) + ": " + reason(column));
    const BudgetColumns budgets(table, budget);
    Table result;
    result.columns.assign(table.columns.begin(), table.columns.begin() + static_cast<std::ptrdiff_t>(budget));
    std::ranges::move(budgets.columns(), std::back_inserter(result.columns));
    for (const Row& row : table.rows) {
        auto found
            = std::ranges::find_if(result.rows, [&](const Row& other) { return budgets.same_series(row, other); });
        if (found == result.rows.end()) {
            result.rows.emplace_back(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(budget));
            result.rows.back().resize(result.columns.size());
            found = result.rows.end() - 1;
        }
        (*found)[budget + budgets.index(row)] = row[quantity];
    }
    return result;
}

} // namespace lava
