#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lava {

/// A cell of a table. Nothing: a number that the report does not have.
using Value = std::variant<std::monostate, std::int64_t, double, std::string>;

inline Value or_nothing(const std::optional<double>& number)
{
    return number ? Value(*number) : Value();
}

struct Column
{
    std::string name;
    bool in_text = true; ///< shown to people; CSV and JSON carry every column
};

/// What every command of lava-analyze prints, whatever the format.
struct Table
{
    std::vector<Column> columns;
    std::vector<std::vector<Value>> rows; ///< [rows, columns]
};

enum class TableFormat
{
    text,
    csv,
    json,
    markdown
};

/// Aligned, numbers to four significant digits, "-" where there is nothing.
std::string to_text(const Table& table);

/// RFC 4180 with a header and "\n" at line ends; numbers in full precision, empty where there is nothing.
std::string to_csv(const Table& table);

/// A list of row objects, one a line; numbers in full precision, null where there is nothing.
std::string to_json(const Table& table);

/// A table of GitHub's Markdown with every column, the first one as code; numbers in full precision.
std::string to_markdown(const Table& table);

std::string to_string(const Table& table, TableFormat format);

/// One quantity as policies against budgets: the rows of `table` that share a policy (and report) become one row, their
/// budgets columns, ascending; shares of the prompt ("10%") where prompts are of several lengths. Throws UsageError
/// naming the columns that can be asked for, Error where no row has the quantity.
Table pivot(const Table& table, std::string_view column);

} // namespace lava
