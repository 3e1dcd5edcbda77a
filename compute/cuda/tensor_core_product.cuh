#pragma once

#include "compute/cuda/attention_tiles.h"

#include <mma.h>

namespace lava::cuda {

/// PlainProduct's twin for float16 and bfloat16 on the tensor cores, which a GPU has from 2020 on: a warp takes a patch
/// of 16 x 16 at a time. Strides
/// are multiples of 8 numbers of T and of 4 floats, what is pointed to is aligned to 32 bytes.
struct TensorCoreProduct
{
    static constexpr int side = 16;

    template <typename Block, typename T>
    static LAVA_DEVICE void multiply_transposed(const Block& block, const T* a, int a_stride, const T* b, int b_stride,
        int depth, float* c, int c_stride, int rows, int columns)
    {
        for_each_patch(block, rows, columns, [&](int row, int column) {
            Sums sums;
            nvcuda::wmma::fill_fragment(sums, 0.0F);
            for (int k = 0; k < depth; k += side) {
                // b's rows are the product's columns
                add<T, nvcuda::wmma::col_major>(
                    sums, a + row * a_stride + k, a_stride, b + column * b_stride + k, b_stride);
            }
            nvcuda::wmma::store_matrix_sync(
                c + row * c_stride + column, sums, static_cast<unsigned>(c_stride), nvcuda::wmma::mem_row_major);
        });
    }

    template <typename Block, typename T>
    static LAVA_DEVICE void multiply_add(const Block& block, const T* a, int a_stride, const T* b, int b_stride,
        int depth, float* c, int c_stride, int rows, int columns)
    {
        for_each_patch(block, rows, columns, [&](int row, int column) {
            float* const patch = c + row * c_stride + column;
            Sums sums;
            nvcuda::wmma::load_matrix_sync(sums, patch, static_cast<unsigned>(c_stride), nvcuda::wmma::mem_row_major);
            for (int k = 0; k < depth; k += side) {
                add<T, nvcuda::wmma::row_major>(
                    sums, a + row * a_stride + k, a_stride, b + k * b_stride + column, b_stride);
            }
            nvcuda::wmma::store_matrix_sync(patch, sums, static_cast<unsigned>(c_stride), nvcuda::wmma::mem_row_major);
        });
    }

private:
    using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, side, side, side, float>;

    template <typename Block, typename Work>
    static LAVA_DEVICE void for_each_patch(const Block& block, int rows, int columns, const Work& work)
    {
        constexpr int warp_threads = 32;
        const int warps = attention_threads / warp_threads, patches = rows / side * (columns / side);
        for (int patch = block.thread() / warp_threads; patch < patches; patch += warps) {
            work(patch / (columns / side) * side, patch % (columns / side) * side);
        }
    }

    template <typename T, typename Layout>
    static LAVA_DEVICE void add(Sums& sums, const T* a, int a_stride, const T* b, int b_stride)
    {
        nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, side, side, side, T, nvcuda::wmma::row_major> left;
        nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, side, side, side, T, Layout> right;
        nvcuda::wmma::load_matrix_sync(left, a, static_cast<unsigned>(a_stride));
        nvcuda::wmma::load_matrix_sync(right, b, static_cast<unsigned>(b_stride));
        nvcuda::wmma::mma_sync(sums, left, right, sums);
    }
};

} // namespace lava::cuda
