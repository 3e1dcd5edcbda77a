#include "bench/cuda_floor.h"

#include "compute/cuda/launch.cuh"
#include "compute/cuda/tensor_core_product.cuh"
#include "compute/cuda/tile_product.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace lava::bench {

namespace {

using namespace cuda;

/// q k^T of one tile, again and again.
template <typename T, typename Product> struct Products
{
    static constexpr int threads = attention_threads;
    static constexpr int side = 64, depth = 128, stride = depth + 16 / static_cast<int>(sizeof(T));
    static constexpr int repeats = 2000;

    std::int64_t count;
    float* result; ///< [count], so that nothing is left out

    std::int64_t blocks() const { return count; }
    static constexpr std::size_t shared_bytes()
    {
        return 2 * side * stride * sizeof(T) + side * (side + 4) * sizeof(float);
    }
    double flops() const { return 2.0 * side * side * depth * repeats * static_cast<double>(count); }

    template <typename Block> __device__ void operator()(const Block& block) const
    {
        SharedMemory memory(block.shared());
        T* const a = memory.take<T>(side * stride);
        T* const b = memory.take<T>(side * stride);
        auto* const c = memory.take<float>(side * (side + 4));
        for (int i = block.thread(); i < side * stride; i += threads) {
            a[i] = b[i] = T(0.001F * static_cast<float>(i % 7));
        }
        block.sync();
        for (int i = 0; i < repeats; ++i) {
            Product::multiply_transposed(block, a, stride, b, stride, depth, c, side + 4, side, side);
        }
        block.sync();
        if (block.thread() == 0) {
            result[block.index()] = c[0];
        }
    }
};

float milliseconds(const cudaEvent_t begin, const cudaEvent_t end)
{
    check(cudaEventSynchronize(end), "timing");
    float time = 0;
    check(cudaEventElapsedTime(&time, begin, end), "timing");
    return time;
}

/// The shortest of a few runs of work(), after one that does not count.
template <typename Work> double device_seconds(const Work& work)
{
    cudaEvent_t begin{}, end{};
    check(cudaEventCreate(&begin), "timing");
    check(cudaEventCreate(&end), "timing");
    double best = 1e30;
    for (int run = 0; run < 6; ++run) {
        check(cudaEventRecord(begin), "timing");
        work();
        check(cudaEventRecord(end), "timing");
        const double seconds = 1e-3 * static_cast<double>(milliseconds(begin, end));
        best = run > 0 && seconds < best ? seconds : best;
    }
    (void)cudaEventDestroy(begin);
    (void)cudaEventDestroy(end);
    return best;
}

template <typename T, typename Product> double rate()
{
    constexpr std::int64_t blocks = 2048;
    const DeviceMemory result(blocks * sizeof(float));
    const Products<T, Product> products{blocks, static_cast<float*>(result.data())};
    return products.flops() / device_seconds([&] { StreamLauncher(nullptr).launch(products); });
}

} // namespace

double copy_bytes_per_second()
{
    constexpr std::size_t bytes = std::size_t{1} << 29;
    const DeviceMemory from(bytes), to(bytes);
    return 2.0 * static_cast<double>(bytes) / device_seconds([&] {
        check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice), "copy within the device");
    });
}

double product_flops_per_second(NumberType type)
{
    switch (type) {
    case NumberType::float16:
        return rate<__half, TensorCoreProduct>();
    case NumberType::bfloat16:
        return rate<__nv_bfloat16, TensorCoreProduct>();
    case NumberType::float32:
        break;
    }
    return rate<float, PlainProduct>();
}

} // namespace lava::bench
