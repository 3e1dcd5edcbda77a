#pragma once

#include "analysis/statistics.h"
#include "analysis/table.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace lava {

// What the tables are made of: columns that each pick a value from what a row is about.

/// What a row of a table is about; columns pick from it.
struct Subject
{
    const Cell& cell;
    HeadId head = {}; ///< layer and KV head, where the row has them
    std::int64_t query_head = 0;
    const Span* span = nullptr;
    std::optional<LossSummary> losses = {};
    SpanFate fate = {}; ///< of `span`
    std::vector<SpanFate> fates = {}; ///< of all the report's spans
};

struct ColumnOf
{
    Column column;
    std::function<Value(const Subject&)> value;
};

using Columns = std::vector<ColumnOf>;

inline void append(Columns& columns, Columns more)
{
    std::ranges::move(more, std::back_inserter(columns));
}

/// A table under construction: columns first, then a row for each subject.
class Rows
{
public:
    explicit Rows(Columns columns)
        : columns_(std::move(columns))
    {
        for (const ColumnOf& column : columns_)
            table_.columns.push_back(column.column);
    }

    void add(const Subject& subject)
    {
        std::vector<Value>& row = table_.rows.emplace_back();
        for (const ColumnOf& column : columns_)
            row.push_back(column.value(subject));
    }

    Table take() { return std::move(table_); }

private:
    Columns columns_;
    Table table_;
};

/// What a cell is: report, prompt, policy and budget; `nominal` comes last.
Columns key_columns(std::span<const Cell> cells);

/// The closed loop of a run; people are shown it where any report has one.
Columns closed_loop_columns(std::span<const Cell> cells);
/// Drift after a layer, likewise.
Columns drift_columns(std::span<const Cell> cells);

} // namespace lava
