#pragma once

// The attention kernels in their order, on whatever runs kernels: a Launcher has launch(kernel).

#include "compute/cuda/attend_rows.h"
#include "compute/cuda/sum_columns.h"
#include "compute/cuda/tile_product.h"

namespace lava::cuda {

template <typename T> struct AttentionOutputs
{
    T* z = nullptr; ///< [n, num_heads, head_dim]; null: not wanted
    float* column_sums = nullptr; ///< [num_heads, num_keys]; null: not wanted
    float* off_diagonal = nullptr; ///< column sums without each query's own key; null: not wanted
    float divisor = 1; ///< of the column sums
};

/// The largest tile that fits into the shared memory that every GPU since 2020 grants a block.
template <typename T> TileSize tile_size(const AttentionInputs<T>& in)
{
    constexpr std::size_t shared_limit = 99 * 1024;
    for (const TileSize tile :
        {TileSize{64, 64}, TileSize{32, 64}, TileSize{32, 32}, TileSize{16, 32}, TileSize{16, 16}}) {
        const AttendRows<T, PlainProduct> rows{in, tile, 1, {}, nullptr, nullptr};
        const SumColumns<T, PlainProduct> columns{in, tile, {}, 1, nullptr, nullptr};
        if (rows.shared_bytes() <= shared_limit && columns.shared_bytes() <= shared_limit) {
            return tile;
        }
    }
    return {};
}

/// Blocks among which the keys of each tile of rows are split: some 512 in all, which depends on the problem alone, so
/// that every GPU adds in the same order.
template <typename T> std::int64_t split_count(const AttentionInputs<T>& in, TileSize tile)
{
    constexpr std::int64_t wanted = 512, fewest_tiles = 4; // splits; tiles of keys in each
    const auto tiles = ceil_divide(in.n * in.group(), tile.rows) * in.num_kv_heads;
    const auto most = ceil_divide(ceil_divide(in.num_keys, tile.keys), fewest_tiles);
    return larger(1, smaller(ceil_divide(wanted, larger(tiles, 1)), most));
}

/// What the kernels share.
struct AttentionWorkspace
{
    RowStatistics joined{}, of_splits{};
    float* parts = nullptr;
    std::int64_t floats = 0; ///< in all
};

template <typename T>
AttentionWorkspace deal_workspace(const AttentionInputs<T>& in, std::int64_t splits, bool wants_z, float* memory)
{
    AttentionWorkspace workspace;
    const auto take = [&](std::int64_t count) {
        float* const result = memory == nullptr ? nullptr : memory + workspace.floats;
        workspace.floats += count;
        return result;
    };
    const auto rows = in.num_heads * in.n;
    workspace.joined = {take(rows), take(rows)};
    if (splits > 1) {
        workspace.of_splits = {take(splits * rows), take(splits * rows)};
        workspace.parts = wants_z ? take(splits * rows * in.head_dim) : nullptr;
    }
    return workspace;
}

/// Floats of workspace that launch_attention() needs.
template <typename T> std::int64_t workspace_floats(const AttentionInputs<T>& in, bool wants_z)
{
    return deal_workspace(in, split_count(in, tile_size(in)), wants_z, nullptr).floats;
}

/// `workspace`: workspace_floats() floats where the kernels run.
template <typename Product, typename T, typename Launcher>
void launch_attention(
    const Launcher& launcher, const AttentionInputs<T>& in, const AttentionOutputs<T>& out, float* workspace)
{
    const auto tile = tile_size(in);
    const auto splits = split_count(in, tile);
    const auto work = deal_workspace(in, splits, out.z != nullptr, workspace);
    const bool is_split = splits > 1;
    launcher.launch(
        AttendRows<T, Product>{in, tile, splits, is_split ? work.of_splits : work.joined, out.z, work.parts});
    if (is_split) {
        launcher.launch(
            JoinSplits<T>{splits, in.num_heads, in.n, in.head_dim, work.of_splits, work.parts, work.joined, out.z});
    }
    if (out.column_sums != nullptr) {
        launcher.launch(SumColumns<T, Product>{in, tile, work.joined, out.divisor, out.column_sums, out.off_diagonal});
    }
}

} // namespace lava::cuda
