#pragma once

// The CPU's attention in float32, one tile of query rows of one head at a time. Plain pointers: the arithmetic is
// compiled once for each instruction set, with flags of its own, and must share no inline function with the rest.

#include <cstdint>

namespace lava {

/// Query rows that a tile has at most.
inline constexpr std::int64_t attention_tile_rows = 48;
/// Keys that a tile takes at a time.
inline constexpr std::int64_t attention_block_keys = 256;

struct AttentionTile
{
    const float* q; ///< [rows, head_dim], already divided by sqrt(head_dim)
    const float* keys; ///< as pack_keys() laid them out
    const float* values; ///< [num_keys, padded_dim], zero beyond head_dim
    std::int64_t rows; ///< 1 to attention_tile_rows
    std::int64_t head_dim;
    std::int64_t padded_dim; ///< head_dim rounded up to the instruction set's lanes
    std::int64_t first; ///< row r sees the keys 0 to first + r
    float* z; ///< [rows, z_stride]: the first head_dim numbers of a row are written
    std::int64_t z_stride;
    float* sums; ///< [first + rows] column sums of the rows' probabilities; null: not wanted
    float* off_diagonal; ///< column sums without each row's own key
    float* scratch; ///< attention_scratch() floats
};

/// Attention for one instruction set.
struct AttentionArithmetic
{
    std::int64_t lanes;
    std::int64_t panel; ///< keys that pack_keys() puts beside each other
    /// k [num_keys, head_dim] -> [ceil(num_keys / panel), head_dim, panel], zero beyond num_keys.
    void (*pack_keys)(const float* k, std::int64_t num_keys, std::int64_t head_dim, float* packed);
    void (*attend)(const AttentionTile& tile);
};

/// Floats of scratch that a tile over `num_keys` keys needs.
constexpr std::int64_t attention_scratch(std::int64_t num_keys, std::int64_t padded_dim, bool column_sums)
{
    const std::int64_t blocks = column_sums ? (num_keys + attention_block_keys - 1) / attention_block_keys : 1;
    const std::int64_t of_rows = padded_dim + blocks + 2; // output, maxima by block, maximum and sum
    return attention_tile_rows * (blocks * attention_block_keys + of_rows);
}

} // namespace lava
