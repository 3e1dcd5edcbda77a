#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lava {

/// Entries per KV head on average, window included.
struct Budget
{
    std::int64_t entries = 0;
    std::optional<double> ratio; ///< the share to evict, where it was given as that

    bool operator==(const Budget&) const = default;
};

/// One item of a list of budgets, as it was spelt; what it stands for depends on the length of the prompt.
struct BudgetItem
{
    enum class Kind
    {
        entries, ///< N
        range, ///< a:b:xK
        percent, ///< P%
        ratio ///< ratio:r
    };

    BudgetItem(std::int64_t entries); ///< N

    std::string text;
    Kind kind = Kind::entries;
    std::int64_t from = 0; ///< N, or a
    std::int64_t to = 0; ///< b
    double number = 0; ///< K, P or r
};

/// Comma-separated items: N; a:b:xK (a, aK, aK^2, ... up to b, truncated to whole numbers); P% = floor(P N / 100);
/// ratio:r = max(1, int(N (1 - r))), kvpress's convention. Throws UsageError for a malformed item or one below 1.
std::vector<BudgetItem> parse_budget_items(std::string_view list);

/// What an item stands for with a prompt of `seq_len` tokens, ascending: of a range, what is within the prompt; of
/// others one number, which may be below 1 or above the prompt.
std::vector<Budget> budgets_of(const BudgetItem& item, std::int64_t seq_len);

/// The budgets among `known`, for a prompt of `seq_len` tokens, that an item names. Where P% is whole and no known
/// budget is exactly that, the known budgets that round to it.
std::vector<std::int64_t> budgets_named(
    const BudgetItem& item, std::span<const std::int64_t> known, std::int64_t seq_len);

/// Budgets from such a list. Ascending, each number of entries once (one given as a ratio keeps it). Throws UsageError
/// for a malformed item or a budget below 1, Error for one above `seq_len` (dropped inside a range).
std::vector<Budget> parse_budgets(std::string_view list, std::int64_t seq_len);

/// The grid used when none is asked for: 12 budgets in equal ratios up to `seq_len`, rounded to whole numbers, from
/// twice the largest number of entries that a policy reserves, at least 16; on a prompt no longer than that, from one
/// above.
std::vector<Budget> default_budgets(std::int64_t seq_len, std::int64_t reserved);

} // namespace lava
