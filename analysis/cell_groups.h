#pragma once

#include "analysis/shares.h"
#include "analysis/statistics.h"

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lava {

/// What the cells of a group have in common.
struct GroupKey
{
    std::string policy;
    std::string match; ///< nominal or retained; both where these are the same cells
    std::int64_t place = 0; ///< of their share of the prompt
    std::size_t part = 0; ///< of the reports
};

/// Cells that one number is of: a policy's at one share of the prompt, compared in one way.
struct CellGroup : GroupKey
{
    std::vector<const Cell*> cells; ///< of those that the groups were made of
};

/// What the cells of a group share; nothing where they do not.
class Common
{
public:
    void add(Value value)
    {
        differs_ = differs_ || (value_ && *value_ != value);
        value_ = std::move(value);
    }
    Value value() const { return value_ && !differs_ ? *value_ : Value(); }

private:
    std::optional<Value> value_;
    bool differs_ = false;
};

/// Entries retained over all entries.
double retained_share(const Cell& cell);

/// The shares that bring the budgets of these cells together.
Shares shares_of(std::span<const Cell> cells);

/// In order of share, then of first appearance. `match`: what the cells were selected by (Filter::match); a cell whose
/// budget is the one at equal retention counts as nominal and as retained. `parts`: the part of the reports that each
/// cell is of, to be told apart; empty: all are one.
std::vector<CellGroup> cell_groups(std::span<const Cell> cells, const Shares& shares, const std::string& match,
    std::span<const std::size_t> parts = {});

/// The baseline's group that a group is compared with: of the same match, or both; for a group of both, where the
/// baseline has none of both, the one at equal retention. None where there is none.
template <typename Group>
const Group* baseline_of(const std::vector<Group>& groups, const Group& group, const std::string& baseline)
{
    const auto find = [&](const std::string& match) -> const Group* {
        for (const Group& other : groups) {
            const bool beside = other.place == group.place && other.part == group.part;
            if (beside && other.match == match && other.policy == baseline && group.policy != baseline)
                return &other;
        }
        return nullptr;
    };
    const Group* const same = find(group.match);
    return same ? same : find(group.match == "both" ? "retained" : "both");
}

} // namespace lava
