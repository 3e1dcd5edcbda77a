#pragma once

// What kernels are written against. A kernel is a value that holds its arguments and is called by every thread of a
// block with that block. A Block, whichever machine it belongs to, has
//     index()    of this block in the launch
//     thread()   of this thread in the block, below Kernel::threads
//     sync()     waits until all threads of the block are here; all or none must call it
//     shared()   memory of the block, aligned to 128 bytes
// Compiled by nvcc the machine is a GPU (compute/cuda/launch.cuh); compiled by any C++ compiler it is the emulation
// that the tests run the same kernels on, so that their arithmetic is tested where there is no GPU.

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define LAVA_DEVICE __device__
#define LAVA_HOST_DEVICE __host__ __device__
#else
#define LAVA_DEVICE
#define LAVA_HOST_DEVICE
#endif

namespace lava::cuda {

LAVA_HOST_DEVICE constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b)
{
    return (a + b - 1) / b;
}

LAVA_HOST_DEVICE constexpr std::int64_t smaller(std::int64_t a, std::int64_t b)
{
    return a < b ? a : b;
}

LAVA_HOST_DEVICE constexpr std::int64_t larger(std::int64_t a, std::int64_t b)
{
    return a > b ? a : b;
}

/// Deals out a block's shared memory. The same calls on a null base tell how much a kernel needs.
class SharedMemory
{
public:
    LAVA_HOST_DEVICE explicit SharedMemory(unsigned char* base)
        : base_(base)
    { }

    template <typename T> LAVA_HOST_DEVICE T* take(std::int64_t count)
    {
        T* const result = reinterpret_cast<T*>(base_ + used_);
        used_ += (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
        return result;
    }

    LAVA_HOST_DEVICE std::size_t used() const { return used_; }

private:
    static constexpr std::size_t alignment = 32; // what the tensor cores' loads ask for
    unsigned char* base_;
    std::size_t used_ = 0;
};

/// combine(a, b) over the block's threads' x, on all of them, in the same order whatever the machine. scratch:
/// [threads].
template <int threads, typename Block, typename T, typename Combine>
LAVA_DEVICE T combined_of_block(const Block& block, T x, T* scratch, const Combine& combine)
{
    static_assert((threads & (threads - 1)) == 0);
    const int thread = block.thread();
    scratch[thread] = x;
    for (int half = threads / 2; half > 0; half /= 2) {
        block.sync();
        if (thread < half) {
            scratch[thread] = combine(scratch[thread], scratch[thread + half]);
        }
    }
    block.sync();
    const T all = scratch[0];
    block.sync(); // before the scratch is used again
    return all;
}

/// The sum of the block's x, on all threads.
template <int threads, typename Block, typename T> LAVA_DEVICE T sum_of_block(const Block& block, T x, T* scratch)
{
    return combined_of_block<threads>(block, x, scratch, [](T a, T b) { return a + b; });
}

/// The largest of the block's x, on all threads.
template <int threads, typename Block, typename T> LAVA_DEVICE T largest_of_block(const Block& block, T x, T* scratch)
{
    return combined_of_block<threads>(block, x, scratch, [](T a, T b) { return b > a ? b : a; });
}

} // namespace lava::cuda
