#pragma once

#include "analysis/replay_report.h"
#include "replay/closed_loop/decode_batch.h"

#include <cstdint>
#include <vector>

namespace lava {

/// The rows of a closed loop: the dense one first, then every retained set that differs from it and from the others of
/// its ranking, those of a ranking together. The report must outlive them.
struct ClosedLoopRows
{
    std::vector<RetainedPrompt> retained;
    std::vector<std::vector<std::size_t>> of_cell; ///< [P][G] into `retained`
    std::vector<std::uint32_t> whole_prompt; ///< [L, Hkv, N] the dense row's ranking
    std::vector<std::int64_t> whole_counts; ///< [L, Hkv]

    ClosedLoopRows()
        = default; // not to be copied: the dense row looks into its own vectors, which a move leaves in place
    ClosedLoopRows(ClosedLoopRows&&) = default;
    ClosedLoopRows& operator=(ClosedLoopRows&&) = default;
};

ClosedLoopRows closed_loop_rows(const ReplayReport& report);

/// One row, which keeps the first `count` tokens of the prompt in every head.
ClosedLoopRows dense_row(const TraceInfo& info, std::int64_t count);

} // namespace lava
