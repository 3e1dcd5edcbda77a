#pragma once

#include "compute/cuda/attention_weights.h"

#include <vector>

namespace lava::cuda {

/// Stretch of a head's order, within one segment, that one block sums.
struct Piece
{
    std::int64_t head, begin, end;
};

inline constexpr std::int64_t piece_entries = 128; ///< at most

/// The cuts of every KV head's order as kernels read them. A head's order is its decode entries, which always stay,
/// then its ranking; cut i keeps the first `ends[i]` of it, segment i ends there, and the last segment, which no cut
/// keeps, at the end of the order.
struct CutTables
{
    std::int64_t most_cuts; ///< of any head
    const std::int64_t* cuts; ///< [num_kv_heads]
    const std::int64_t* ends; ///< [num_kv_heads, most_cuts + 1]
    const Piece* pieces; ///< in the order of heads and segments
    const std::int64_t* first_piece; ///< [num_kv_heads, most_cuts + 2] of each segment, then one behind the last

    LAVA_HOST_DEVICE const std::int64_t* first_pieces(std::int64_t head) const
    {
        return first_piece + head * (most_cuts + 2);
    }
};

/// Cuts on the host, from counts[head]: ascending numbers of ranked entries that are kept.
struct HostCuts
{
    std::int64_t most_cuts = 0;
    std::vector<std::int64_t> cuts, ends, first_piece;
    std::vector<Piece> pieces;

    HostCuts(const Sizes& sizes, const std::vector<std::vector<std::int64_t>>& counts)
    {
        for (const auto& of_head : counts) {
            cuts.push_back(static_cast<std::int64_t>(of_head.size()));
            most_cuts = larger(most_cuts, cuts.back());
        }
        for (std::size_t head = 0; head < counts.size(); ++head) {
            std::int64_t begin = 0;
            for (const auto count : counts[head]) {
                add_segment(head, begin, sizes.steps + count);
                begin = sizes.steps + count;
            }
            add_segment(head, begin, sizes.entries());
            first_piece.push_back(static_cast<std::int64_t>(pieces.size()));
            ends.resize((head + 1) * static_cast<std::size_t>(most_cuts + 1));
            first_piece.resize((head + 1) * static_cast<std::size_t>(most_cuts + 2));
        }
    }

private:
    void add_segment(std::size_t head, std::int64_t begin, std::int64_t end)
    {
        first_piece.push_back(static_cast<std::int64_t>(pieces.size()));
        ends.push_back(end);
        for (auto from = begin; from < end; from += piece_entries) {
            pieces.push_back({static_cast<std::int64_t>(head), from, smaller(from + piece_entries, end)});
        }
    }
};

} // namespace lava::cuda
