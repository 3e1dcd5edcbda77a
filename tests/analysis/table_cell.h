#pragma once

#include "analysis/table.h"

#include <string>

namespace lava {

/// The cell of a table in a row and the column of that name.
inline Value at(const Table& table, std::size_t row, const std::string& name)
{
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
        if (table.columns[i].name == name)
            return table.rows.at(row)[i];
    }
    return "no column " + name;
}

} // namespace lava
