#pragma once

#include "compute/cuda/block.h"

namespace lava::cuda {

/// Products of tiles in shared memory by all threads of a block, fp32 sums. Sides are multiples of 16; the block syncs
/// before and after. This one runs on ordinary arithmetic and for any number type.
struct PlainProduct
{
    static constexpr int side = 16; // threads stand in a square, each computes every 16th row and column
    static constexpr int each = 4;

    /// c [rows, columns] = a [rows, depth] b^T, b [columns, depth].
    template <typename Block, typename T>
    static LAVA_DEVICE void multiply_transposed(const Block& block, const T* a, int a_stride, const T* b, int b_stride,
        int depth, float* c, int c_stride, int rows, int columns)
    {
        multiply(
            block, a, a_stride, [&](int k, int column) { return b[column * b_stride + k]; }, depth, rows, columns,
            [&](int row, int column, float sum) { c[row * c_stride + column] = sum; });
    }

    /// c [rows, columns] += a [rows, depth] b, b [depth, columns].
    template <typename Block, typename T>
    static LAVA_DEVICE void multiply_add(const Block& block, const T* a, int a_stride, const T* b, int b_stride,
        int depth, float* c, int c_stride, int rows, int columns)
    {
        multiply(
            block, a, a_stride, [&](int k, int column) { return b[k * b_stride + column]; }, depth, rows, columns,
            [&](int row, int column, float sum) { c[row * c_stride + column] += sum; });
    }

private:
    /// Calls put(row, column, sum over k of a[row][k] right(k, column)).
    template <typename Block, typename T, typename Right, typename Put>
    static LAVA_DEVICE void multiply(const Block& block, const T* a, int a_stride, const Right& right, int depth,
        int rows, int columns, const Put& put)
    {
        for_each_patch(block, rows, columns, [&](int row, int column) {
            float sums[each][each] = {};
            for (int k = 0; k < depth; ++k) {
                add_products(
                    sums, [&](int i) { return row + i < rows ? static_cast<float>(a[(row + i) * a_stride + k]) : 0; },
                    [&](int j) { return column + j < columns ? static_cast<float>(right(k, column + j)) : 0; });
            }
            store(sums, row, column, rows, columns, put);
        });
    }

    /// Calls work(row, column) for the corners of this thread's patches: rows row, row + side, ... and columns alike.
    template <typename Block, typename Work>
    static LAVA_DEVICE void for_each_patch(const Block& block, int rows, int columns, const Work& work)
    {
        const int row = block.thread() / side, column = block.thread() % side;
        for (int r = row; r < rows; r += side * each) {
            for (int c = column; c < columns; c += side * each) {
                work(r, c);
            }
        }
    }

    template <typename Left, typename Right>
    static LAVA_DEVICE void add_products(float (&sums)[each][each], const Left& left, const Right& right)
    {
        float a[each], b[each];
        for (int i = 0; i < each; ++i) {
            a[i] = left(i * side);
            b[i] = right(i * side);
        }
        for (int i = 0; i < each; ++i) {
            for (int j = 0; j < each; ++j) {
                sums[i][j] += a[i] * b[j];
            }
        }
    }

    template <typename Put>
    static LAVA_DEVICE void store(
        const float (&sums)[each][each], int row, int column, int rows, int columns, const Put& put)
    {
        for (int i = 0; i < each; ++i) {
            for (int j = 0; j < each; ++j) {
                if (row + i * side < rows && column + j * side < columns) {
                    put(row + i * side, column + j * side, sums[i][j]);
                }
            }
        }
    }
};

} // namespace lava::cuda
