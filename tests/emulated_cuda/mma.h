#pragma once

// CUDA's <mma.h> for the emulation: what compute/cuda/tensor_core_product.cuh uses of it, on the CPU. A warp's
// operation is done by its first thread, and what the tensor cores ask of pointers and strides is checked.

#include "tests/emulated_machine.h"

#include <cstdint>
#include <stdexcept>
#include <type_traits>

namespace nvcuda::wmma {

struct row_major;
struct col_major;
struct matrix_a;
struct matrix_b;
struct accumulator;
enum layout_t
{
    mem_row_major,
    mem_col_major
};

template <typename Use, int m, int n, int k, typename T, typename Layout = void> struct fragment
{
    static_assert(m == 16 && n == 16 && k == 16);
    T elements[16][16];
};

inline bool is_first_of_warp()
{
    return lava::cuda::testing::running_thread() % 32 == 0;
}

template <typename T> void check_access(const T* pointer, unsigned stride)
{
    if (reinterpret_cast<std::uintptr_t>(pointer) % 32 != 0 || stride * sizeof(T) % 16 != 0) {
        throw std::logic_error("a matrix of the tensor cores is not aligned");
    }
}

template <typename Fragment> void fill_fragment(Fragment& to, float value)
{
    for (auto& row : to.elements) {
        for (auto& x : row) {
            x = value;
        }
    }
}

template <typename Use, typename T, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& to, const T* from, unsigned stride)
{
    check_access(from, stride);
    for (unsigned row = 0; row < 16; ++row) {
        for (unsigned column = 0; column < 16; ++column) {
            const bool by_rows = std::is_same_v<Layout, row_major>;
            to.elements[row][column] = from[by_rows ? row * stride + column : column * stride + row];
        }
    }
}

using Sums = fragment<accumulator, 16, 16, 16, float>;

inline void load_matrix_sync(Sums& to, const float* from, unsigned stride, layout_t layout)
{
    check_access(from, stride);
    for (unsigned row = 0; row < 16; ++row) {
        for (unsigned column = 0; column < 16; ++column) {
            to.elements[row][column] = from[layout == mem_row_major ? row * stride + column : column * stride + row];
        }
    }
}

inline void store_matrix_sync(float* to, const Sums& from, unsigned stride, layout_t layout)
{
    check_access(to, stride);
    for (unsigned row = 0; is_first_of_warp() && row < 16; ++row) {
        for (unsigned column = 0; column < 16; ++column) {
            to[layout == mem_row_major ? row * stride + column : column * stride + row] = from.elements[row][column];
        }
    }
}

template <typename Left, typename Right> void mma_sync(Sums& to, const Left& left, const Right& right, const Sums& from)
{
    for (int row = 0; is_first_of_warp() && row < 16; ++row) {
        for (int column = 0; column < 16; ++column) {
            float sum = from.elements[row][column];
            for (int i = 0; i < 16; ++i) {
                sum += static_cast<float>(left.elements[row][i]) * static_cast<float>(right.elements[i][column]);
            }
            to.elements[row][column] = sum;
        }
    }
}

} // namespace nvcuda::wmma
