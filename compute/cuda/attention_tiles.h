#pragma once

// Sizes of the attention kernels' tiles, and the tiles' way into shared memory.

#include "compute/cuda/block.h"

namespace lava::cuda {

inline constexpr int attention_threads = 256;
inline constexpr float lowest_score = -3e38F; ///< below all others: a maximum over nothing

/// Query rows and keys of a tile: multiples of 16. No rows: the head does not fit into shared memory.
struct TileSize
{
    int rows = 0;
    int keys = 0;
};

/// Attention of the last n of num_keys positions of one layer. Heads are *_stride numbers apart, a head's rows beside
/// each other.
template <typename T> struct AttentionInputs
{
    const T* q; ///< [num_heads, n, head_dim]
    const T* k; ///< [num_kv_heads, num_keys, head_dim]
    const T* v; ///< laid out as k
    std::int64_t q_stride, k_stride, v_stride;
    std::int64_t num_heads, num_kv_heads, n, num_keys, head_dim;
    std::int64_t window; ///< a query sees the last `window` positions up to its own; 0: all
    float scale; ///< 1 / sqrt(head_dim)

    LAVA_HOST_DEVICE std::int64_t group() const { return num_heads / num_kv_heads; }
    LAVA_HOST_DEVICE std::int64_t past() const { return num_keys - n; }
    /// Keys [first_key, end_key) that the query in row i sees.
    LAVA_HOST_DEVICE std::int64_t first_key(std::int64_t i) const
    {
        return window == 0 ? 0 : larger(0, end_key(i) - window);
    }
    LAVA_HOST_DEVICE std::int64_t end_key(std::int64_t i) const { return past() + i + 1; }
    LAVA_HOST_DEVICE bool sees(std::int64_t i, std::int64_t key) const
    {
        return key >= first_key(i) && key < end_key(i);
    }
    LAVA_HOST_DEVICE int padded_dim() const { return static_cast<int>(ceil_divide(head_dim, 16) * 16); }
    /// Numbers from one row of a tile to the next: never a multiple of the banks' width.
    LAVA_HOST_DEVICE int tile_stride() const { return padded_dim() + static_cast<int>(16 / sizeof(T)); }
};

/// 16 bytes, moved at once.
struct alignas(16) [[gnu::may_alias]] Chunk
{
    std::uint32_t words[4];
};

/// Rows of head_dim numbers into to [rows, tile_stride], zero beyond them. row_at(r): row r, null where there is none.
template <typename T, typename Block, typename RowAt>
LAVA_DEVICE void load_rows(const Block& block, const AttentionInputs<T>& in, int rows, T* to, const RowAt& row_at)
{
    const int dim = static_cast<int>(in.head_dim), padded = in.padded_dim(), stride = in.tile_stride();
    constexpr int numbers = sizeof(Chunk) / sizeof(T);
    const int chunks = padded / numbers;
    for (int i = block.thread(); i < rows * chunks; i += attention_threads) {
        const int row = i / chunks, column = i % chunks * numbers;
        const T* const from = row_at(row);
        T* const place = to + row * stride + column;
        const bool is_whole = from != nullptr && column + numbers <= dim;
        if (is_whole && reinterpret_cast<std::uintptr_t>(from + column) % sizeof(Chunk) == 0) {
            *reinterpret_cast<Chunk*>(place) = *reinterpret_cast<const Chunk*>(from + column);
            continue;
        }
        for (int j = 0; j < numbers; ++j) {
            place[j] = from != nullptr && column + j < dim ? from[column + j] : T(0.0F);
        }
    }
}

} // namespace lava::cuda
