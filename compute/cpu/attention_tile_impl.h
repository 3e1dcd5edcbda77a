// Part of arithmetic_impl.h.

#include "compute/cpu/attention_tile.h"
#include "compute/cpu/vectors_impl.h"

namespace lava {

namespace {

constexpr std::int64_t vectors = LAVA_VECTORS; // beside each other in a register tile
constexpr std::int64_t panel = lanes * vectors;
constexpr std::int64_t micro_rows = 6; // micro_rows * vectors sums and a few operands fill the registers
constexpr std::int64_t block = attention_block_keys;
constexpr std::int64_t tile_rows = attention_tile_rows;
static_assert(block % panel == 0 && tile_rows % micro_rows == 0);

/// c [micro_rows, width] = or += a [micro_rows, depth] b [depth, width], where a row of c is `width` vectors.
template <std::int64_t width, bool accumulate>
inline void multiply(const float* a, std::int64_t a_stride, const float* b, std::int64_t b_stride, std::int64_t depth,
    float* c, std::int64_t c_stride)
{
    Floats sums[micro_rows][width];
    for (std::int64_t r = 0; r < micro_rows; ++r)
        for (std::int64_t j = 0; j < width; ++j)
            sums[r][j] = accumulate ? load(c + r * c_stride + j * lanes) : Floats{};
    for (std::int64_t i = 0; i < depth; ++i) {
        Floats row[width];
        for (std::int64_t j = 0; j < width; ++j)
            row[j] = load(b + i * b_stride + j * lanes);
        for (std::int64_t r = 0; r < micro_rows; ++r)
            for (std::int64_t j = 0; j < width; ++j)
                sums[r][j] += a[r * a_stride + i] * row[j];
    }
    for (std::int64_t r = 0; r < micro_rows; ++r)
        for (std::int64_t j = 0; j < width; ++j)
            store(c + r * c_stride + j * lanes, sums[r][j]);
}

/// The tile's working memory.
struct Work
{
    float* probabilities; // [blocks, tile_rows, block], each block's relative to the maximum of its time
    float* output; // [tile_rows, padded_dim]
    float* maxima; // [tile_rows, blocks], that maximum
    float* maximum; // [tile_rows]
    float* sum; // [tile_rows]
    std::int64_t blocks; // that are kept
};

Work work_of(const AttentionTile& tile, std::int64_t blocks)
{
    Work work;
    work.blocks = blocks;
    work.probabilities = tile.scratch;
    work.output = work.probabilities + blocks * tile_rows * block;
    work.maxima = work.output + tile_rows * tile.padded_dim;
    work.maximum = work.maxima + tile_rows * blocks;
    work.sum = work.maximum + tile_rows;
    for (std::int64_t i = 0; i < tile_rows * tile.padded_dim; ++i)
        work.output[i] = 0;
    for (std::int64_t r = 0; r < tile_rows; ++r) {
        work.maximum[r] = -3e38F;
        work.sum[r] = 0;
    }
    return work;
}

/// q k^T of `columns` keys from `begin` on, [tile_rows, block].
void score_block(const AttentionTile& tile, std::int64_t begin, std::int64_t columns, float* scores)
{
    for (std::int64_t column = 0; column < columns; column += panel) {
        const float* keys = tile.keys + (begin + column) * tile.head_dim;
        for (std::int64_t r = 0; r < tile.rows; r += micro_rows)
            multiply<vectors, false>(tile.q + r * tile.head_dim, tile.head_dim, keys, panel, tile.head_dim,
                scores + r * block + column, block);
    }
}

/// Scores of a row's block become probabilities relative to the row's maximum so far; its output and sum are rescaled.
void exponentiate(
    const AttentionTile& tile, const Work& work, std::int64_t r, std::int64_t visible, std::int64_t columns, float* row)
{
    for (std::int64_t j = visible; j < columns; ++j)
        row[j] = -3e38F;
    Floats largest = all(work.maximum[r]);
    for (std::int64_t j = 0; j < columns; j += lanes)
        largest = larger(largest, load(row + j));
    const float maximum = largest_of(largest);
    Floats sum{};
    for (std::int64_t j = 0; j < columns; j += lanes) {
        const Floats p = exponential(load(row + j) - maximum);
        store(row + j, p);
        sum += p;
    }
    if (maximum != work.maximum[r]) {
        const float scale = exponential(all(work.maximum[r] - maximum))[0];
        work.sum[r] *= scale;
        float* output = work.output + r * tile.padded_dim;
        for (std::int64_t j = 0; j < tile.padded_dim; j += lanes)
            store(output + j, load(output + j) * scale);
        work.maximum[r] = maximum;
    }
    work.sum[r] += sum_of(sum);
}

template <std::int64_t width>
void add_values(const AttentionTile& tile, const float* p, const float* values, std::int64_t keys, float* output)
{
    for (std::int64_t r = 0; r < tile.rows; r += micro_rows)
        multiply<width, true>(
            p + r * block, block, values, tile.padded_dim, keys, output + r * tile.padded_dim, tile.padded_dim);
}

/// output += probabilities of a block times its values.
void weigh_values(const AttentionTile& tile, const Work& work, const float* p, std::int64_t begin, std::int64_t keys)
{
    const float* values = tile.values + begin * tile.padded_dim;
    std::int64_t column = 0;
    for (; column + panel <= tile.padded_dim; column += panel)
        add_values<vectors>(tile, p, values + column, keys, work.output + column);
    for (; column < tile.padded_dim; column += lanes)
        add_values<1>(tile, p, values + column, keys, work.output + column);
}

/// Column sums of a block, [columns]: what was relative to the maximum of its time is brought to the last one's.
void sum_block(const AttentionTile& tile, const Work& work, std::int64_t index, std::int64_t columns)
{
    const float* p = work.probabilities + index * tile_rows * block;
    float factors[tile_rows];
    for (std::int64_t r = 0; r < tile.rows; ++r)
        factors[r] = exponential(all(work.maxima[r * work.blocks + index] - work.maximum[r]))[0] / work.sum[r];
    const std::int64_t begin = index * block;
    for (std::int64_t j = 0; j < columns; ++j) {
        float sum = 0;
        tile.sums[begin + j] = sum;
    }
    for (std::int64_t r = 0; r < tile.rows; ++r)
        for (std::int64_t j = 0; j < columns; ++j)
            tile.sums[begin + j] += p[r * block + j] * factors[r];
    // the diagonal is left out, not subtracted: what remains may be much smaller
    for (std::int64_t j = 0; j < columns; ++j)
        tile.off_diagonal[begin + j] = tile.sums[begin + j];
    for (std::int64_t r = 0; r < tile.rows; ++r) {
        const std::int64_t own = tile.first + r - begin;
        if (own < 0 || own >= columns)
            continue;
        float sum = 0;
        for (std::int64_t other = 0; other < tile.rows; ++other)
            sum += other == r ? 0 : p[other * block + own] * factors[other];
        tile.off_diagonal[begin + own] = sum;
    }
}

void attend(const AttentionTile& tile)
{
    const std::int64_t keys = tile.first + tile.rows, blocks = (keys + block - 1) / block;
    const bool keeps = tile.sums != nullptr;
    const Work work = work_of(tile, keeps ? blocks : 1);
    for (std::int64_t index = 0; index < blocks; ++index) {
        const std::int64_t begin = index * block, count = keys - begin < block ? keys - begin : block;
        const std::int64_t columns = (count + panel - 1) / panel * panel;
        float* p = work.probabilities + (keeps ? index : 0) * tile_rows * block;
        score_block(tile, begin, columns, p);
        for (std::int64_t r = 0; r < tile.rows; ++r) {
            const std::int64_t seen = tile.first + r + 1 - begin;
            exponentiate(tile, work, r, seen < 0 ? 0 : seen < count ? seen : count, columns, p + r * block);
            if (keeps)
                work.maxima[r * work.blocks + index] = work.maximum[r];
        }
        weigh_values(tile, work, p, begin, count);
    }
    for (std::int64_t r = 0; r < tile.rows; ++r)
        for (std::int64_t j = 0; j < tile.head_dim; ++j)
            tile.z[r * tile.z_stride + j] = work.output[r * tile.padded_dim + j] / work.sum[r];
    for (std::int64_t index = 0; keeps && index < blocks; ++index)
        sum_block(tile, work, index, keys - index * block < block ? keys - index * block : block);
}

void pack_keys(const float* k, std::int64_t num_keys, std::int64_t head_dim, float* packed)
{
    for (std::int64_t first = 0; first < num_keys; first += panel, packed += head_dim * panel) {
        const std::int64_t count = num_keys - first < panel ? num_keys - first : panel;
        for (std::int64_t c = 0; c < head_dim; ++c)
            for (std::int64_t j = 0; j < panel; ++j)
                packed[c * panel + j] = j < count ? k[(first + j) * head_dim + c] : 0;
    }
}

} // namespace

} // namespace lava
