#pragma once

#include <cstdint>
#include <optional>
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

/// Budgets from a list of comma-separated items: N; a:b:xK (a, aK, aK^2, ... up to b, truncated to whole numbers);
/// P% = floor(P N / 100); ratio:r = max(1, int(N (1 - r))), kvpress's convention. Ascending, each number of
/// entries once (one given as a ratio keeps it). Throws
/// UsageError for a malformed item or a budget below 1, Error for one above `seq_len` (dropped inside a range).
std::vector<Budget> parse_budgets(std::string_view list, std::int64_t seq_len);

/// The grid used when none is asked for: 12 budgets in equal ratios up to `seq_len`, rounded to whole numbers, from
/// twice the largest number of entries that a policy reserves, at least 16; on a prompt no longer than that, from one
/// above.
std::vector<Budget> default_budgets(std::int64_t seq_len, std::int64_t reserved);

} // namespace lava
