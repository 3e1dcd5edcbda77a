#pragma once

// Norms of the rows of a matrix product, taken from the registers that hold it.

#include "compute/cpu/kernels/kernels.h"
#include "compute/cpu/kernels/simd.h"

namespace lava {

template <int bytes> struct ProductTile
{
    static constexpr int rows = bytes == 64 ? 8 : 6; // 8 x 3 of 32 registers, 6 x 2 of 16
    static constexpr int vectors = bytes == 64 ? 3 : 2;
    static constexpr std::int64_t columns = vectors * Simd<bytes>::floats;
};

// Adds |x| and x^2 of a tile of the product to the lanes of its rows.
template <int bytes, int rows>
void add_tile_norms(
    const float* left, std::int64_t stride, const float* panel, std::int64_t inner, float* magnitudes, float* squares)
{
    using S = Simd<bytes>;
    constexpr int vectors = ProductTile<bytes>::vectors;
    typename S::Floats product[rows][vectors] = {};
    for (std::int64_t k = 0; k < inner; ++k) {
        typename S::Floats right[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            right[v] = S::load(panel + (k * vectors + v) * S::floats);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
            const auto x = left[r * stride + k];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                product[r][v] += x * right[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
        auto magnitude = S::load(magnitudes + r * S::floats);
        auto square = S::load(squares + r * S::floats);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            magnitude += S::magnitude(product[r][v]);
            square += product[r][v] * product[r][v];
        }
        S::store(magnitudes + r * S::floats, magnitude);
        S::store(squares + r * S::floats, square);
    }
}

// Panels outside, rows inside: a panel stays in the second-level cache while all rows of the block pass by.
template <int bytes>
void norms_of_block(
    const float* rows, std::int64_t stride, std::int64_t count, const Panels& matrix, float* magnitudes, float* squares)
{
    using Tile = ProductTile<bytes>;
    constexpr auto lanes = Simd<bytes>::floats;
    for (std::int64_t column = 0; column < matrix.columns; column += Tile::columns) {
        const auto* panel = matrix.data + column * matrix.inner;
        std::int64_t row = 0;
        for (; row + Tile::rows <= count; row += Tile::rows) {
            add_tile_norms<bytes, Tile::rows>(
                rows + row * stride, stride, panel, matrix.inner, magnitudes + row * lanes, squares + row * lanes);
        }
        for (; row < count; ++row) {
            add_tile_norms<bytes, 1>(
                rows + row * stride, stride, panel, matrix.inner, magnitudes + row * lanes, squares + row * lanes);
        }
    }
}

template <int bytes>
void product_norms(
    const float* rows, std::int64_t stride, std::int64_t count, const Panels& matrix, double* l1, double* l2)
{
    using S = Simd<bytes>;
    constexpr std::int64_t block = 240; // a multiple of both tiles' rows
    constexpr auto lanes = S::floats;
    for (std::int64_t begin = 0; begin < count; begin += block) {
        const auto size = count - begin < block ? count - begin : block;
        float magnitudes[block * lanes] = {};
        float squares[block * lanes] = {};
        norms_of_block<bytes>(rows + begin * stride, stride, size, matrix, magnitudes, squares);
        for (std::int64_t row = 0; row < size; ++row) {
            l1[begin + row] = S::sum_in_double(S::load(magnitudes + row * lanes));
            l2[begin + row] = __builtin_sqrt(S::sum_in_double(S::load(squares + row * lanes)));
        }
    }
}

} // namespace lava
