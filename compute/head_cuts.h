#pragma once

#include "compute/device.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace lava {

/// A head's counts over all sets, ascending, each once, and the sets that have each of them.
struct HeadCuts
{
    std::vector<std::int64_t> counts;
    std::vector<std::vector<std::size_t>> sets; ///< [counts]
};

inline HeadCuts head_cuts(const SetCounts& sets, std::size_t head)
{
    std::map<std::int64_t, std::vector<std::size_t>> sets_of;
    for (std::size_t set = 0; set < sets.size(); ++set) {
        sets_of[sets[set][head]].push_back(set);
    }
    HeadCuts cuts;
    for (auto& [count, of_count] : sets_of) {
        cuts.counts.push_back(count);
        cuts.sets.push_back(std::move(of_count));
    }
    return cuts;
}

} // namespace lava
